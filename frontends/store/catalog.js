/** The front: what the store sells, and a search in it. */

import { announce } from "../shared/announcer.js";
import { h, put } from "../shared/dom.js";
import { fetchJson, pause } from "../shared/http.js";
import { say, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import { picture, price, putInCart } from "./product_view.js";
import { rename } from "./router.js";

const PAGE_PRODUCTS = 24;
const TYPING_MS = 250;

// What was shown last, so that coming back finds it, and the place in it, at once.
let shown = { q: null, items: [], next: null };

const addressOf = (q) => (q ? `/?q=${encodeURIComponent(q)}` : "/");

export function catalogPage({ query, signal }) {
  let q = query.get("q") ?? "";
  let asking = new AbortController();
  const count = h("p", { class: "count" });
  const grid = h("ul", { class: "grid" });
  const after = h("div", { class: "after-grid" });
  const input = h("input", {
    id: "search",
    type: "search",
    name: "q",
    autocomplete: "off",
    enterkeyhint: "search",
    placeholder: say("search_products"),
    maxlength: "100",
    oninput: () => search(TYPING_MS),
  });
  input.value = q;
  const form = h(
    "form",
    {
      class: "search",
      role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        search(0);
      },
    },
    icon("search"),
    h("label", { for: "search", class: "visually-hidden" }, say("search_products")),
    input,
  );

  function draw() {
    put(grid, shown.items.map(tile));
    put(
      count,
      shown.items.length || shown.q === null ? say("found", { count: shown.items.length }) : say("found_none"),
    );
    put(
      after,
      shown.next && h("button", { class: "button button-quiet", type: "button", onclick: more }, say("more")),
      shown.items.length === 0 && nothingFound(shown.q),
    );
  }

  function nothingFound(words) {
    return h(
      "div",
      { class: "empty" },
      h("h2", {}, say("nothing_found")),
      h("p", {}, say("nothing_found_lead", { q: words })),
      h("a", { class: "button button-quiet", href: "/" }, say("show_all")),
    );
  }

  function failed(error, retry) {
    if (signal.aborted) return;
    const button = h("button", { class: "button button-quiet", type: "button", onclick: retry }, say("try_again"));
    put(after, notice("bad", say("catalog_failed"), say(error.status ? "unavailable" : "no_answer"), button));
  }

  async function page(cursor) {
    asking.abort();
    asking = new AbortController();
    const parameters = new URLSearchParams({ limit: PAGE_PRODUCTS });
    if (q) parameters.set("q", q);
    if (cursor) parameters.set("after", cursor);
    return fetchJson("GET", `/api/products?${parameters}`, { signal: AbortSignal.any([signal, asking.signal]) });
  }

  async function load({ spoken }) {
    const asked = q;
    try {
      const { items, next } = await page(null);
      shown = { q: asked, items, next };
      draw();
      if (spoken) announce(items.length ? t("found", { count: items.length }) : t("found_none"));
    } catch (error) {
      if (error.name === "AbortError") return;
      put(grid);
      put(count);
      failed(error, () => load({ spoken: true }));
    }
  }

  async function more(event) {
    const button = event.currentTarget;
    button.setAttribute("aria-disabled", "true");
    try {
      const { items, next } = await page(shown.next);
      const first = shown.items.length;
      shown = { ...shown, items: [...shown.items, ...items], next };
      draw();
      grid.children[first]?.querySelector("a").focus();
    } catch (error) {
      if (error.name !== "AbortError") failed(error, more);
    }
  }

  let typing = 0;
  async function search(waitMs) {
    const turn = ++typing;
    await pause(waitMs);
    const wanted = input.value.trim();
    if (turn !== typing || signal.aborted || wanted === q) return;
    q = wanted;
    rename(addressOf(q));
    await load({ spoken: true });
  }

  if (shown.q === q && shown.items.length) {
    draw();
  } else {
    put(grid, Array.from({ length: 8 }, skeleton));
    put(count, say("loading"));
  }
  load({ spoken: false });

  return {
    title: () => `Codeshop · ${t("catalog_title")}`,
    element: [
      h(
        "section",
        { class: "hero" },
        h(
          "div",
          { class: "width hero-row" },
          h(
            "div",
            { class: "hero-words" },
            h("h1", {}, say("catalog_title")),
            h("p", { class: "lead" }, say("catalog_lead")),
            form,
          ),
          h("div", { class: "hero-tiles", "aria-hidden": "true" }),
        ),
      ),
      h(
        "section",
        { class: "width shelf", "aria-labelledby": "products" },
        h("div", { class: "shelf-head" }, h("h2", { id: "products" }, say("products")), count),
        grid,
        after,
      ),
    ],
  };
}

const skeleton = () =>
  h(
    "li",
    { class: "tile skeleton", "aria-hidden": "true" },
    h("span", { class: "picture" }),
    h("span", { class: "bar" }),
  );

function tile(product, index) {
  return h(
    "li",
    { class: "tile" },
    h(
      "a",
      { class: "tile-link", href: `/products/${encodeURIComponent(product.slug)}` },
      picture(product, index < 8 ? {} : { loading: "lazy" }),
      h("span", { class: "tile-name" }, product.name),
      h("span", { class: "tile-price" }, price(product.price_minor, product.currency)),
    ),
    h(
      "button",
      {
        type: "button",
        class: "tile-add",
        "aria-label": say("add_named", { name: product.name }),
        title: say("add"),
        onclick: () => putInCart(product, 1),
      },
      icon("plus"),
    ),
  );
}
