/** The entries on the page, newest first, by day. What is added never moves what the reader looks at. */

import { h } from "../shared/dom.js";
import { dateTime, dayName, money, say, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";

const STORE_WITH_ORDER_PAGES = "Codeshop";
const TILES = 16;

const dayOf = (moment) => {
  const date = new Date(moment);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()]
    .map((part) => String(part).padStart(2, "0"))
    .join("-");
};

/** A number from 0 to TILES - 1 that is always the same for a store, so that its tile is. */
function tileOf(store) {
  let sum = 0;
  for (const character of store) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return sum % TILES;
}

const earlier = (one, other) => one.payment_date < other.payment_date;

export class Ledger {
  constructor() {
    this.element = h("div", { class: "ledger" });
    this.entries = new Map();
    this.days = new Map();
  }

  get size() {
    return this.entries.size;
  }

  /** What was spent in the month of now, as {purchases, amounts: [[currency, minor units]]}: payments less refunds. */
  spentInMonth(now) {
    const amounts = new Map();
    let purchases = 0;
    for (const { entry } of this.entries.values()) {
      const date = new Date(entry.payment_date);
      if (date.getFullYear() !== now.getFullYear() || date.getMonth() !== now.getMonth()) continue;
      const sign = entry.kind === "refund" ? -1 : 1;
      if (sign > 0) purchases += 1;
      amounts.set(entry.currency, (amounts.get(entry.currency) ?? 0) + sign * entry.amount_minor);
    }
    return { purchases, amounts: [...amounts] };
  }

  /** Adds entries that are not there yet, marking them as new where fresh. Answers them. */
  add(entries, { fresh }) {
    const added = entries.filter((entry) => !this.entries.has(entry.id));
    if (added.length === 0) return added;
    const place = this.readersPlace();
    for (const entry of added) this.insert(entry, fresh);
    if (place) scrollBy({ top: place.element.getBoundingClientRect().top - place.top, behavior: "instant" });
    return added;
  }

  /** The entry that the reader looks at, and where on the screen it is; null while the newest are in view. */
  readersPlace() {
    if (this.element.getBoundingClientRect().top >= 0) return null;
    for (const element of this.element.querySelectorAll(".entry")) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom > 0) return { element, top };
    }
    return null;
  }

  insert(entry, fresh) {
    const element = entryElement(entry, fresh, (transactionId) => this.elementOf(transactionId));
    const list = this.dayList(entry.payment_date);
    const next = [...list.children].find((child) => !earlier(entry, this.entries.get(child.dataset.id).entry));
    list.insertBefore(element, next ?? null);
    this.entries.set(entry.id, { entry, element });
  }

  dayList(moment) {
    const day = dayOf(moment);
    const found = this.days.get(day);
    if (found) return found;
    const list = h("ul", { class: "entries" });
    const section = h(
      "section",
      { class: "day", "data-day": day },
      h("h3", {}, () => dayName(moment)),
      list,
    );
    const next = [...this.element.children].find((child) => child.dataset.day < day);
    this.element.insertBefore(section, next ?? null);
    this.days.set(day, list);
    return list;
  }

  /** The payment of a transaction, when it is on the page. */
  elementOf(transactionId) {
    for (const { entry, element } of this.entries.values()) {
      if (entry.transaction_id === transactionId && entry.kind === "payment") return { entry, element };
    }
    return null;
  }
}

function entryElement(entry, fresh, findPayment) {
  const refund = entry.kind === "refund";
  const amount = () => `${refund ? "+ " : ""}${money(entry.amount_minor, entry.currency)}`;
  const time = h("time", { datetime: entry.payment_date }, () => dateTime(entry.payment_date, { timeStyle: "short" }));
  const payment = refund && entry.refund_of ? findPayment(entry.refund_of) : null;
  return h(
    "li",
    {
      class: `entry entry-${entry.kind}${fresh ? " entry-fresh" : ""}`,
      "data-id": entry.id,
      "data-transaction": entry.transaction_id,
      tabindex: "-1",
    },
    h("span", { class: `store-tile store-tile-${tileOf(entry.store)}`, "aria-hidden": "true" }),
    h(
      "div",
      { class: "entry-words" },
      h(
        "p",
        { class: "entry-store" },
        h("span", { class: "visually-hidden" }, say(refund ? "refund_from" : "payment_to", { store: entry.store })),
        h("span", { "aria-hidden": "true" }, entry.store),
        refund
          ? h("span", { class: "entry-badge", "aria-hidden": "true" }, icon("refund"), h("span", {}, say("refund")))
          : null,
      ),
      entry.description ? h("p", { class: "entry-description" }, entry.description) : null,
      h(
        "p",
        { class: "entry-more" },
        time,
        entry.order_id && entry.store === STORE_WITH_ORDER_PAGES
          ? h("a", { href: `/orders/${encodeURIComponent(entry.order_id)}` }, say("see_order"))
          : null,
        payment
          ? h(
              "button",
              { type: "button", class: "link", onclick: () => lead(payment.element) },
              say("refund_of", { date: () => dateTime(payment.entry.payment_date, { dateStyle: "medium" }) }),
            )
          : null,
      ),
    ),
    h("p", { class: "entry-amount" }, amount),
  );
}

/** Brings the reader to an entry. */
function lead(element) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "center", behavior: still ? "instant" : "smooth" });
}

/** What a screen reader is told of new entries. */
export function saidOf(added) {
  if (added.length > 1) return t("new_several_said", { count: added.length });
  const [{ kind, amount_minor, currency, store }] = added;
  const key = kind === "refund" ? "new_refund_said" : "new_payment_said";
  return t(key, { amount: () => money(amount_minor, currency), store: () => store });
}
