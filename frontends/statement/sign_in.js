/** Signing in: a card is proved to the bank. */

import { announce } from "../shared/announcer.js";
import { CardForm } from "../shared/card_form.js";
import { h, put } from "../shared/dom.js";
import { checkAll, mistakeText, waitText } from "../shared/field.js";
import { NoAnswer, Problem } from "../shared/http.js";
import { hasMessage, say, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import { signIn } from "./account.js";

/**
 * The form. told is a notice that says why the reader is here, or null; onSignedIn gets the session {expires_at, card}.
 */
export function signInPage({ told, onSignedIn }) {
  const form = new CardForm({ withName: false });
  const outcome = h("div", { class: "notices", tabindex: "-1" }, told);
  const label = h("span", {}, say("sign_in"));
  const button = h("button", { class: "button button-wide button-pay", type: "submit" }, icon("lock"), label);
  let proving = false;

  function setProving(now) {
    proving = now;
    form.locked = now;
    button.setAttribute("aria-disabled", String(now));
    button.classList.toggle("busy", now);
    put(label, say(now ? "signing_in" : "sign_in"));
  }

  async function submit(event) {
    event.preventDefault();
    if (proving) return;
    put(outcome);
    if (!checkAll(form.fields)) {
      announce(t("check_marked"));
      return;
    }
    setProving(true);
    try {
      const session = await signIn(form.proof);
      onSignedIn(session);
    } catch (error) {
      setProving(false);
      showError(error);
    }
  }

  function showError(error) {
    if (error instanceof NoAnswer) {
      tell("sign_in_failed", say("no_answer"));
    } else if (!(error instanceof Problem)) {
      throw error;
    } else if (error.status === 401) {
      tell("not_proved_title", say("not_proved"));
    } else if (error.status === 429) {
      const seconds = error.retryAfterSeconds ?? 1;
      tell("too_many_title", say("too_many_attempts", { wait: () => waitText(seconds) }));
    } else if (error.status === 422 && error.errors.length) {
      const homeless = form.showMistakes(error.errors);
      announce(t("check_marked"));
      for (const { code, detail } of homeless) tell("sign_in_failed", mistakeText(code, detail, hasMessage(code)));
    } else {
      tell("sign_in_failed", say("unavailable"));
    }
  }

  function tell(heading, words) {
    put(outcome, notice("bad", say(heading), words));
    outcome.focus();
  }

  return h(
    "div",
    { class: "width sign-in" },
    h(
      "div",
      { class: "sign-in-words" },
      h("h1", { tabindex: "-1" }, say("sign_in_title")),
      h("p", { class: "lead" }, say("sign_in_lead")),
      form.picture,
    ),
    h(
      "form",
      { class: "panel", method: "post", novalidate: true, onsubmit: submit, "aria-labelledby": "your-card" },
      h("h2", { id: "your-card" }, say("your_card")),
      outcome,
      form.element,
      button,
      h("p", { class: "small" }, icon("lock"), h("span", {}, say("sign_in_secure"))),
    ),
  );
}
