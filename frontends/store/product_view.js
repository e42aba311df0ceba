/** Products as they are shown in several places: picture, price, quantity. */

import { h, newId } from "../shared/dom.js";
import { money, say } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import * as cart from "./cart.js";
import { toast } from "./toast.js";

/** The price as live text. */
export const price = (amountMinor, currency) => () => money(amountMinor, currency);

/** The picture. Its name stands beside it, so it has no words of its own. One that can't be fetched leaves a plain tile. */
export function picture(product, attributes) {
  const image = h("img", {
    src: product.image_url,
    alt: "",
    width: "600",
    height: "600",
    decoding: "async",
    onerror: () => image.remove(),
    ...attributes,
  });
  return h("span", { class: "picture" }, image);
}

/** A quantity with buttons on both sides. onchange is called with each new whole number from 1 to the maximum. */
export function quantityPicker({ name, quantity, onchange }) {
  const id = newId("quantity");
  const input = h("input", {
    id,
    class: "quantity-input",
    type: "text",
    inputmode: "numeric",
    autocomplete: "off",
    maxlength: "2",
    "aria-label": say("quantity_of", { name }),
    onchange: () => set(Number(/^\d+$/.test(input.value.trim()) ? input.value : quantity)),
    onkeydown: (event) => {
      const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      set(quantity + step);
    },
  });
  const step = (label, change, sign) =>
    h(
      "button",
      {
        type: "button",
        class: "quantity-step",
        "aria-label": say(label, { name }),
        onclick: () => set(quantity + change),
      },
      icon(sign),
    );
  const fewer = step("fewer_of", -1, "minus");
  const another = step("another_of", 1, "plus");

  function follow() {
    input.value = String(quantity);
    fewer.setAttribute("aria-disabled", String(quantity <= 1));
    another.setAttribute("aria-disabled", String(quantity >= cart.QUANTITY_MAX));
  }

  function set(wanted) {
    const next = Math.min(cart.QUANTITY_MAX, Math.max(1, wanted));
    const changed = next !== quantity;
    quantity = next;
    follow();
    if (changed) onchange(quantity);
  }

  follow();
  return h(
    "div",
    { class: "quantity", role: "group", "aria-label": say("quantity_of", { name }) },
    fewer,
    input,
    another,
  );
}

/** Adds to the cart and says so. */
export function putInCart(product, quantity) {
  cart.add(product, quantity);
  toast(say("added", { name: product.name }), h("a", { href: "/cart" }, say("view_cart")));
}
