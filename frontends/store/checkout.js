/** The checkout: a card, what it pays, and what the bank said, next to where it can be mended. */

import { announce } from "../shared/announcer.js";
import { CardForm } from "../shared/card_form.js";
import { h, put } from "../shared/dom.js";
import { checkAll, mistakeText, waitText } from "../shared/field.js";
import { NoAnswer, Problem } from "../shared/http.js";
import { hasMessage, say, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import * as cart from "./cart.js";
import { declinedField, declineText } from "./decline.js";
import { freshnessNotices, refreshCart } from "./fresh.js";
import { price } from "./product_view.js";
import { inOrder, purchaseOf, send, settle } from "./purchase.js";
import { again, navigate } from "./router.js";
import { toast } from "./toast.js";

export function checkoutPage(context) {
  return cart.lines().length ? filledPage(context) : emptyPage();
}

const title = () => `${t("checkout")} · Codeshop`;

function emptyPage() {
  return {
    title,
    element: h(
      "div",
      { class: "width empty" },
      h("div", { class: "empty-tiles", "aria-hidden": "true" }),
      h("h1", { tabindex: "-1" }, say("cart_empty")),
      h("p", {}, say("cart_empty_lead")),
      h("p", {}, h("a", { class: "button", href: "/" }, say("continue_shopping"))),
    ),
  };
}

function filledPage({ signal }) {
  const form = new CardForm({ withName: true });
  const notices = h("div", { class: "notices" });
  const outcome = h("div", { class: "notices", tabindex: "-1" });
  const summary = h("section", { class: "summary", "aria-labelledby": "summary" });
  const label = h("span");
  const button = h("button", { class: "button button-wide button-pay", type: "submit" }, icon("lock"), label);
  const statementLink = () => h("a", { class: "button button-quiet", href: "/statement/" }, say("open_statement"));
  let paying = false;

  function drawSummary() {
    const lines = cart.lines();
    if (lines.length === 0) {
      // Another tab has paid or emptied the cart. While a payment of this page is under way, its answer decides.
      if (!paying) again();
      return;
    }
    const sum = cart.totalOf(lines);
    put(
      summary,
      h("h2", { id: "summary" }, say("summary")),
      h(
        "ul",
        { class: "summary-lines" },
        lines.map((line) =>
          h(
            "li",
            {},
            h("span", {}, `${line.quantity} × `, line.name),
            h("span", {}, price(line.price_minor * line.quantity, line.currency)),
          ),
        ),
      ),
      h(
        "div",
        { class: "total" },
        h("span", {}, say("total")),
        h("strong", { class: "total-amount" }, sum ? price(sum.amountMinor, sum.currency) : "—"),
      ),
      sum ? null : notice("bad", say("several_currencies_title"), say("mixed_currencies")),
      h("a", { class: "link", href: "/cart" }, say("change_cart")),
    );
    drawButton();
  }

  function drawButton() {
    const sum = cart.totalOf(cart.lines());
    button.setAttribute("aria-disabled", String(paying || !sum));
    button.classList.toggle("busy", paying);
    put(label, paying ? say("paying") : say("pay", { amount: sum ? price(sum.amountMinor, sum.currency) : "" }));
  }

  function drawDoubt(purchase) {
    if (!purchase.sent && !purchase.doubt) return;
    const words = purchase.sent ? "doubt_same" : "doubt_other";
    put(outcome, notice("info", say("doubt_title"), say(words), statementLink()));
  }

  async function refresh() {
    try {
      put(notices, freshnessNotices(await refreshCart(signal)));
    } catch (error) {
      if (error.name === "AbortError") return;
      const retry = h("button", { class: "button button-quiet", type: "button", onclick: refresh }, say("try_again"));
      put(notices, notice("bad", say("cart_failed"), say(error.status ? "unavailable" : "no_answer"), retry));
    }
  }

  async function submit(event) {
    event.preventDefault();
    const lines = cart.lines();
    if (paying || !cart.totalOf(lines)) return;
    put(outcome);
    if (!checkAll(form.fields)) {
      announce(t("check_marked"));
      return;
    }
    setPaying(true);
    announce(t("paying_said"));
    try {
      const card = { name: form.name.value.trim(), ...form.proof };
      const order = await send(purchaseOf(lines), card, lines, () => {
        put(outcome, notice("waiting", say("still_paying"), null));
        announce(t("still_paying"));
      });
      // Also where the shopper has gone to another page meanwhile: the answer is definite all the same.
      settle();
      if (order.status !== "declined") cart.clear();
      if (signal.aborted) tellElsewhere(order);
      else if (order.status === "declined") showDecline(order.decline_code);
      else navigate(`/orders/${encodeURIComponent(order.id)}`, { replace: true, handed: order });
    } catch (error) {
      if (!signal.aborted) showError(error, lines);
    } finally {
      setPaying(false);
    }
  }

  /** The shopper has gone to another page while the bank decided. */
  function tellElsewhere(order) {
    const words = order.status === "declined" ? "declined_title" : "order_taken";
    toast(say(words), h("a", { href: `/orders/${encodeURIComponent(order.id)}` }, say("see_order")));
  }

  function setPaying(now) {
    paying = now;
    form.locked = now;
    if (!signal.aborted) drawButton();
  }

  function showDecline(code) {
    const words = declineText(code);
    const field = declinedField(form, code);
    put(
      outcome,
      notice("bad", say("declined_title"), () => `${words()} ${t("declined_nothing_charged")}`),
    );
    if (field) {
      field.show(words);
      field.input.focus();
    } else {
      outcome.focus();
    }
  }

  function showError(error, lines) {
    if (error instanceof NoAnswer) {
      tell("no_answer_title", say("no_answer_lead"), statementLink());
    } else if (!(error instanceof Problem)) {
      throw error;
    } else if (error.status === 422 && error.errors.length) {
      showMistakes(error.errors, lines);
    } else if (error.status === 409 && error.members.order) {
      settle();
      tell("order_expired", say("order_expired_lead"));
    } else if (error.status === 409) {
      tell("conflict_title", say("conflict_lead"), statementLink(), newPaymentButton());
    } else if (error.status === 429) {
      const seconds = error.retryAfterSeconds ?? 1;
      tell("busy_title", say("too_many_attempts", { wait: () => waitText(seconds) }));
    } else if (error.status === 503) {
      tell("unavailable_title", say("unavailable_lead"));
    } else if (error.status >= 500) {
      tell("no_answer_title", say("no_answer_lead"), statementLink());
    } else {
      tell("refused_title", say("error_fallback", { detail: error.message }));
    }
  }

  function tell(heading, words, ...actions) {
    put(outcome, notice("bad", say(heading), words, ...actions));
    outcome.focus();
  }

  function showMistakes(errors, lines) {
    const homeless = form.showMistakes(errors);
    if (homeless.length === 0) {
      announce(t("check_marked"));
      return;
    }
    put(
      outcome,
      notice("bad", say("refused_title"), null, ...homeless.map((error) => h("span", {}, itemMistake(error, lines)))),
    );
    if (homeless.length === errors.length) outcome.focus();
  }

  function itemMistake({ pointer = "", code, detail }, lines) {
    const line = inOrder(lines)[/^#\/items\/(\d+)/.exec(pointer)?.[1]];
    if (line && code === "unknown_product") return say(code, { name: line.name });
    if (pointer === "#/items" && code === "out_of_range") return say("too_expensive");
    const words = mistakeText(code, detail, hasMessage(code) && code !== "unknown_product");
    return line ? () => `${line.name}: ${words()}` : words;
  }

  function newPaymentButton() {
    return h(
      "button",
      {
        class: "button button-quiet",
        type: "button",
        onclick: () => {
          settle();
          put(outcome);
          announce(t("new_payment_said"));
          form.number.input.focus();
        },
      },
      say("new_payment"),
    );
  }

  drawDoubt(purchaseOf(cart.lines()));
  drawSummary();
  cart.onChange(drawSummary, signal);
  refresh();

  return {
    title,
    element: h(
      "div",
      { class: "width" },
      h("a", { class: "back", href: "/cart" }, icon("back"), h("span", {}, say("cart"))),
      h("h1", { tabindex: "-1" }, say("checkout")),
      notices,
      h(
        "div",
        { class: "checkout" },
        h(
          "form",
          { class: "panel", method: "post", novalidate: true, onsubmit: submit, "aria-labelledby": "by-card" },
          h("h2", { id: "by-card" }, say("pay_by_card")),
          form.picture,
          outcome,
          form.element,
          button,
          h("p", { class: "small" }, icon("lock"), h("span", {}, say("secure"))),
        ),
        summary,
      ),
    ),
  };
}
