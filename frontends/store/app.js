/** The store's pages, put together. */

import { h, put, refresh } from "../shared/dom.js";
import { homeLink, putFrame } from "../shared/frame.js";
import { say, speak, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import * as cart from "./cart.js";
import { cartPage } from "./cart_page.js";
import { catalogPage } from "./catalog.js";
import { checkoutPage } from "./checkout.js";
import { messages } from "./messages.js";
import { orderPage } from "./order.js";
import { notFoundPage } from "./plain_page.js";
import { productPage } from "./product.js";
import { start } from "./router.js";
import { toastCorner } from "./toast.js";

speak(messages);

const badge = h("span", { class: "badge", "aria-hidden": "true" });
const cartLink = h(
  "a",
  { class: "head-link", href: "/cart", "aria-label": () => t("cart_link", { count: cart.count() }) },
  icon("bag"),
  badge,
);
const main = putFrame({
  home: homeLink("Codeshop", h("span", { class: "home-byline" }, say("byline")), "/"),
  navigation: [
    h("a", { class: "head-link", href: "/statement/" }, icon("statement"), h("span", {}, say("my_statement"))),
    cartLink,
  ],
  foot: h("p", {}, say("foot")),
});
document.body.append(toastCorner());

function drawBadge() {
  const count = cart.count();
  badge.hidden = count === 0;
  put(badge, count > 99 ? "99+" : String(count));
  refresh(cartLink);
}
cart.onChange(drawBadge);
drawBadge();

start(
  main,
  [
    ["/", catalogPage],
    ["/products/:slug", productPage],
    ["/cart", cartPage],
    ["/checkout", checkoutPage],
    ["/orders/:id", orderPage],
  ],
  notFoundPage,
);
