/** One product. */

import { h, put } from "../shared/dom.js";
import { fetchJson } from "../shared/http.js";
import { say, setTitle, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { failure, missing } from "./plain_page.js";
import { picture, price, putInCart, quantityPicker } from "./product_view.js";

export function productPage({ params, signal }) {
  const heading = h("h1", {}, say("loading"));
  const page = h("div", { class: "width product" }, h("div", { class: "product-words" }, heading));

  async function load() {
    try {
      const product = await fetchJson("GET", `/api/products/${encodeURIComponent(params.slug)}`, { signal });
      setTitle(() => `${product.name} · Codeshop`);
      draw(product);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 404) {
        setTitle(() => `${t("product_missing")} · Codeshop`);
        put(page, missing("product_missing", "product_missing_lead"));
      } else {
        put(page, failure("failed", error, load));
      }
    }
  }

  function draw(product) {
    let quantity = 1;
    const focused = document.activeElement === heading;
    put(heading, product.name);
    put(
      page,
      h("a", { class: "back", href: "/" }, icon("back"), h("span", {}, say("all_products"))),
      h("div", { class: "product-picture" }, picture(product)),
      h(
        "div",
        { class: "product-words" },
        heading,
        h("p", { class: "product-price" }, price(product.price_minor, product.currency)),
        h("p", { class: "product-description" }, product.description),
        h(
          "div",
          { class: "product-buy" },
          quantityPicker({ name: product.name, quantity, onchange: (wanted) => (quantity = wanted) }),
          h(
            "button",
            { class: "button", type: "button", onclick: () => putInCart(product, quantity) },
            icon("bag"),
            h("span", {}, say("add")),
          ),
        ),
        h(
          "ul",
          { class: "promises" },
          [
            ["check", "product_promise_pay"],
            ["statement", "product_promise_statement"],
            ["lock", "product_promise_card"],
          ].map(([sign, words]) => h("li", {}, icon(sign), h("span", {}, say(words)))),
        ),
      ),
    );
    // Moving an element takes its focus away.
    if (focused) heading.focus({ preventScroll: true });
  }

  load();
  return { title: () => "Codeshop", element: page };
}
