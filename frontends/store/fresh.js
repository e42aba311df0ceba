/** The cart's lines against what the store says now: prices that changed, products that are gone. */

import { h } from "../shared/dom.js";
import { fetchJson } from "../shared/http.js";
import { money, say } from "../shared/i18n.js";
import { notice } from "../shared/notice.js";
import * as cart from "./cart.js";

/**
 * Asks the store for each line and takes over what changed. Answers {changed: [{line, product}], gone: [line]}: each
 * line as it was, with its product as it is now. Throws what the request throws.
 */
export async function refreshCart(signal) {
  const changed = [];
  const gone = [];
  await Promise.all(
    cart.lines().map(async (line) => {
      try {
        const product = await fetchJson("GET", `/api/products/${encodeURIComponent(line.product_id)}`, { signal });
        if (product.price_minor !== line.price_minor || product.currency !== line.currency)
          changed.push({ line, product });
        cart.update(product);
      } catch (error) {
        if (error.status !== 404) throw error;
        gone.push(line);
      }
    }),
  );
  return { changed, gone };
}

/** What a shopper should know of it before paying. */
export function freshnessNotices({ changed, gone }) {
  return [
    gone.length
      ? notice("bad", say("gone_title"), null, ...gone.map((line) => h("span", {}, say("gone", { name: line.name }))))
      : null,
    changed.length
      ? notice(
          "info",
          say("price_changed_title"),
          null,
          ...changed.map(({ line, product }) =>
            h(
              "span",
              {},
              say("price_changed", {
                name: product.name,
                price: () => money(product.price_minor, product.currency),
                before: () => money(line.price_minor, line.currency),
              }),
            ),
          ),
        )
      : null,
  ];
}
