/** One order: its outcome, followed until the bank has decided, and its receipt. */

import { announce } from "../shared/announcer.js";
import { BRAND_NAMES } from "../shared/card.js";
import { h, put } from "../shared/dom.js";
import { fetchJson, pause } from "../shared/http.js";
import { dateTime, money, say, setTitle, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import * as cart from "./cart.js";
import { declineText } from "./decline.js";
import { failure, missing } from "./plain_page.js";
import { price } from "./product_view.js";
import { navigate } from "./router.js";

const FOLLOW_MS_MIN = 1_000;
const FOLLOW_MS_MAX = 10_000;
const SIGNS = { pending: "clock", approved: "check", declined: "close", refunded: "refund", expired: "clock" };

export function orderPage({ params, signal, handed }) {
  const heading = h("h1", { tabindex: "-1" }, say("order_loading"));
  const lead = h("p", { class: "lead" });
  const sign = h("div", { class: "order-sign" });
  const state = h("p", { class: "small" });
  const actions = h("p", { class: "order-actions" });
  const receipt = h("section", { class: "receipt", "aria-label": say("order") });
  const outcome = h("div", { class: "order-outcome" }, sign, h("div", {}, heading, lead, state, actions));
  const page = h("div", { class: "width order" }, outcome);
  let status = null;
  const title = () => `${t(status ? `order_${status}` : "order")} · Codeshop`;

  function draw(order) {
    if (order.status !== status) {
      const before = status;
      status = order.status;
      page.dataset.status = status;
      setTitle(title);
      put(sign, icon(SIGNS[status]));
      put(heading, say(`order_${status}`));
      put(lead, leadOf(order));
      put(state);
      put(actions, actionsOf(order));
      put(receipt, receiptOf(order));
      put(page, outcome, receipt);
      if (before || handed) announce(`${heading.textContent}. ${lead.textContent}`);
    }
    if (status === "pending") {
      const now = new Date();
      put(state, say("order_followed_at", { time: () => dateTime(now, { timeStyle: "medium" }) }));
    }
  }

  function leadOf(order) {
    const amount = price(order.total_minor, order.currency);
    if (order.status === "declined") {
      const words = declineText(order.decline_code);
      return () => `${words()} ${t("declined_nothing_charged")}`;
    }
    const words = say(`order_${order.status}_lead`, { amount });
    if (order.status !== "approved" || !order.refunded_minor) return words;
    const back = say("order_partly_refunded", { amount: price(order.refunded_minor, order.currency) });
    return () => `${words()} ${back()}`;
  }

  function actionsOf(order) {
    const keepShopping = h("a", { class: "button button-quiet", href: "/" }, say("keep_shopping"));
    if (order.status === "declined" || order.status === "expired") {
      return [
        h("button", { class: "button", type: "button", onclick: () => tryAgain(order) }, say("try_another_card")),
        keepShopping,
      ];
    }
    const statement = h(
      "a",
      { class: order.status === "pending" ? "button button-quiet" : "button", href: "/statement/" },
      icon("statement"),
      h("span", {}, say(order.status === "pending" ? "open_statement" : "see_statement")),
    );
    return [statement, keepShopping];
  }

  /** Puts what was ordered into the cart again, at today's prices, and goes to the checkout. */
  async function tryAgain(order) {
    try {
      for (const item of order.items) {
        const product = await fetchJson("GET", `/api/products/${encodeURIComponent(item.product_id)}`, { signal });
        if (!cart.lines().some((line) => line.product_id === product.id)) cart.add(product, item.quantity);
      }
      navigate("/checkout");
    } catch (error) {
      if (error.name === "AbortError") return;
      put(lead, say(error.status ? "unavailable" : "no_answer"));
    }
  }

  async function follow() {
    let waitMs = FOLLOW_MS_MIN;
    while (!signal.aborted) {
      try {
        draw(await fetchJson("GET", `/api/orders/${encodeURIComponent(params.id)}`, { signal }));
        if (status !== "pending") return;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status === 404) {
          setTitle(() => `${t("order_missing")} · Codeshop`);
          put(page, missing("order_missing", "order_missing_lead"));
          return;
        }
        if (status === null) {
          put(
            page,
            failure("order_failed", error, () => navigate(location.pathname, { replace: true })),
          );
          return;
        }
        put(state, say("order_unreachable"));
      }
      try {
        await pause(waitMs, signal);
      } catch {
        return;
      }
      waitMs = Math.min(waitMs * 1.5, FOLLOW_MS_MAX);
    }
  }

  if (handed) draw(handed);
  if (status === null || status === "pending") follow();
  return { title, element: page };
}

function receiptOf(order) {
  const brand = order.card && (BRAND_NAMES[order.card.brand] ?? "");
  const facts = [
    ["order_number", h("code", {}, order.id)],
    [
      "ordered_at",
      h("time", { datetime: order.created_at }, () =>
        dateTime(order.created_at, { dateStyle: "long", timeStyle: "short" }),
      ),
    ],
    order.card?.last4 && ["paid_with", h("span", {}, say("card_ending", { brand, last4: order.card.last4 }))],
    order.transaction_id && ["transaction", h("code", {}, order.transaction_id)],
  ];
  return [
    h(
      "ul",
      { class: "summary-lines" },
      order.items.map((item) =>
        h(
          "li",
          {},
          h(
            "span",
            {},
            h("span", { class: "receipt-name" }, item.name),
            h(
              "span",
              { class: "receipt-each" },
              say("times", { quantity: item.quantity, price: price(item.price_minor, order.currency) }),
            ),
          ),
          h("span", {}, price(item.price_minor * item.quantity, order.currency)),
        ),
      ),
    ),
    h(
      "div",
      { class: "total" },
      h("span", {}, say("total")),
      h("strong", { class: "total-amount" }, () => money(order.total_minor, order.currency)),
    ),
    h(
      "dl",
      { class: "facts" },
      facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, say(name)), h("dd", {}, value))),
    ),
  ];
}
