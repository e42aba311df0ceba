/** Why a bank declined, in words, and which field of the card it is about. */

import { hasMessage, say } from "../shared/i18n.js";

const CODES = [
  "insufficient_funds",
  "unknown_card",
  "incorrect_cvc",
  "expired_card",
  "card_blocked",
  "card_locked",
  "currency_mismatch",
];

const FIELDS = { unknown_card: "number", expired_card: "expiry", incorrect_cvc: "cvv" };

/** The reason as live text; a code that has no words here is shown as it is. */
export function declineText(code) {
  return CODES.includes(code) && hasMessage(code) ? say(code) : say("declined_other", { code: code ?? "?" });
}

/** The field of a CardForm that the reason is about, or null. */
export const declinedField = (form, code) => form[FIELDS[code]] ?? null;
