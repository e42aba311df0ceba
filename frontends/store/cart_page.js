/** The cart, to be looked over before paying. */

import { announce } from "../shared/announcer.js";
import { h, put } from "../shared/dom.js";
import { say, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import * as cart from "./cart.js";
import { freshnessNotices, refreshCart } from "./fresh.js";
import { picture, price, quantityPicker } from "./product_view.js";

export function cartPage({ signal }) {
  const heading = h("h1", { tabindex: "-1" }, say("cart"));
  const notices = h("div", { class: "notices" });
  const body = h("div", { class: "cart" });
  let gone = new Set();
  let drawn = "";

  function draw() {
    const lines = cart.lines();
    // A quantity that was changed here changes sums only: the input that it was typed into stays as it is.
    const contents = JSON.stringify(lines.map(({ product_id, name, image_url }) => [product_id, name, image_url]));
    if (contents === drawn) {
      drawSums(lines);
      return;
    }
    drawn = contents;
    if (lines.length === 0) {
      put(
        body,
        h(
          "div",
          { class: "empty" },
          h("div", { class: "empty-tiles", "aria-hidden": "true" }),
          h("h2", {}, say("cart_empty")),
          h("p", {}, say("cart_empty_lead")),
          h("p", {}, h("a", { class: "button", href: "/" }, say("continue_shopping"))),
        ),
      );
      return;
    }
    put(body, h("ul", { class: "lines" }, lines.map(lineItem)), summary);
    drawSums(lines);
  }

  const total = h("output", { class: "total-amount" });
  const toCheckout = h("a", { class: "button button-wide", href: "/checkout" }, say("check_out"));
  const currencies = h("div");
  const summary = h(
    "section",
    { class: "summary", "aria-label": say("summary") },
    h("div", { class: "total" }, h("span", {}, say("total")), total),
    currencies,
    toCheckout,
    h("a", { class: "button button-quiet button-wide", href: "/" }, say("keep_shopping")),
  );

  function drawSums(lines) {
    const sum = cart.totalOf(lines);
    put(total, sum ? price(sum.amountMinor, sum.currency) : "—");
    put(currencies, sum ? null : notice("bad", say("several_currencies_title"), say("mixed_currencies")));
    toCheckout.hidden = !sum || lines.some((line) => gone.has(line.product_id));
    for (const line of lines) {
      const item = body.querySelector(`[data-product="${CSS.escape(line.product_id)}"]`);
      put(item.querySelector(".line-total"), price(line.price_minor * line.quantity, line.currency));
      put(item.querySelector(".line-each"), say("each", { price: price(line.price_minor, line.currency) }));
    }
  }

  function lineItem(line) {
    return h(
      "li",
      { class: "line", "data-product": line.product_id },
      picture(line),
      h(
        "div",
        { class: "line-words" },
        h("a", { class: "line-name", href: `/products/${encodeURIComponent(line.slug)}` }, line.name),
        h("span", { class: "line-each" }),
        h(
          "button",
          {
            type: "button",
            class: "link",
            "aria-label": say("remove_named", { name: line.name }),
            onclick: () => remove(line),
          },
          say("remove"),
        ),
      ),
      quantityPicker({
        name: line.name,
        quantity: line.quantity,
        onchange: (quantity) => cart.setQuantity(line.product_id, quantity),
      }),
      h("span", { class: "line-total" }),
    );
  }

  function remove(line) {
    cart.remove(line.product_id);
    gone.delete(line.product_id);
    announce(t("removed", { name: line.name }));
    heading.focus();
  }

  async function refresh() {
    try {
      const found = await refreshCart(signal);
      gone = new Set(found.gone.map((line) => line.product_id));
      put(notices, freshnessNotices(found));
      draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      const button = h("button", { class: "button button-quiet", type: "button", onclick: refresh }, say("try_again"));
      put(notices, notice("bad", say("cart_failed"), say(error.status ? "unavailable" : "no_answer"), button));
    }
  }

  cart.onChange(draw, signal);
  draw();
  refresh();
  return {
    title: () => `${t("cart")} · Codeshop`,
    element: h(
      "div",
      { class: "width" },
      h("a", { class: "back", href: "/" }, icon("back"), h("span", {}, say("all_products"))),
      heading,
      notices,
      body,
    ),
  };
}
