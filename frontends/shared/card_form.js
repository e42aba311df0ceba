/** The fields of a card, with the habits that people know from other shops, and the card itself as it is filled in. */

import * as card from "./card.js";
import { h, put } from "./dom.js";
import { Field, mistakeText } from "./field.js";
import { hasMessage, say } from "./i18n.js";
import { mark } from "./icon.js";

const NAME_CHARACTERS_MAX = 100;
const SIGNS = { ...card.BRAND_NAMES, amex: "Amex" };

/** A brand as a small sign: its name, set as a word mark. */
function brandSign(brand) {
  return h("span", { class: `brand brand-${brand}`, "aria-hidden": "true" }, SIGNS[brand]);
}

/** A picture of a card; its texts may be functions. It repeats what stands elsewhere, so screen readers pass over it. */
function cardPicture({ number, name, expiry, brand }) {
  return h(
    "div",
    { class: "card-picture", "aria-hidden": "true" },
    h("div", { class: "card-picture-top" }, mark(), h("span", {}, "codebank")),
    h("div", { class: "card-picture-number" }, number),
    h(
      "div",
      { class: "card-picture-bottom" },
      h("span", { class: "card-picture-name" }, name),
      h("span", {}, expiry),
      h("span", { class: "card-picture-brand" }, SIGNS[brand]),
    ),
  );
}

export class CardForm {
  /** withName: whether the name on the card is asked for; what is proved to the bank at sign-in has none. */
  constructor({ withName }) {
    this.sign = h("span", { class: "field-sign" });
    this.brandSaid = h("span", { class: "visually-hidden", "aria-live": "polite" });
    this.number = new Field({
      name: "number",
      label: say("card_number"),
      mistake: card.numberMistake,
      format: (text) => {
        const digits = card.withoutSeparators(text);
        return /^\d*$/.test(digits) ? card.grouped(digits) : text;
      },
      attributes: { autocomplete: "cc-number", inputmode: "numeric", placeholder: "0000 0000 0000 0000" },
      aside: [this.sign, this.brandSaid],
    });
    this.name = new Field({
      name: "name",
      label: say("card_name"),
      hint: say("card_name_hint"),
      mistake: (text) => (text.trim() ? (text.length > NAME_CHARACTERS_MAX ? "invalid_name" : null) : "required"),
      attributes: { autocomplete: "cc-name", autocapitalize: "characters" },
    });
    this.expiry = new Field({
      name: "expiry",
      label: say("card_expiry"),
      hint: say("card_expiry_hint"),
      mistake: (text) => card.expiryMistake(text),
      format: card.formattedExpiry,
      attributes: { autocomplete: "cc-exp", inputmode: "numeric", placeholder: say("expiry_placeholder") },
    });
    this.cvv = new Field({
      name: "cvv",
      label: say("card_cvv"),
      hint: () => say(this.brand === "amex" ? "card_cvv_hint_amex" : "card_cvv_hint")(),
      mistake: (text) => card.cvvMistake(text, this.number.value.trim() ? this.brand : null),
      attributes: { autocomplete: "cc-csc", inputmode: "numeric", maxlength: "4" },
    });
    this.brand = "other";
    this.fields = [this.number, ...(withName ? [this.name] : []), this.expiry, this.cvv];
    this.picture = h("div", { class: "card-stand" });
    this.element = h(
      "div",
      { class: "card-form" },
      this.number.element,
      withName ? this.name.element : null,
      h("div", { class: "field-row" }, this.expiry.element, this.cvv.element),
    );
    this.element.addEventListener("input", () => this.follow());
    this.follow();
  }

  /** Brings brand, CVV's hint and picture into line with what is typed. */
  follow() {
    const digits = card.withoutSeparators(this.number.value);
    const brand = card.brandOf(digits);
    if (brand !== this.brand) {
      this.brand = brand;
      const known = brand in card.BRAND_NAMES;
      put(this.sign, known ? brandSign(brand) : null);
      put(this.brandSaid, known ? say("brand_detected", { brand: card.BRAND_NAMES[brand] }) : null);
      put(this.cvv.hint, say(brand === "amex" ? "card_cvv_hint_amex" : "card_cvv_hint"));
      if (this.cvv.shown) this.cvv.check();
    }
    const shown = /^\d+$/.test(digits) ? digits.slice(0, card.NUMBER_DIGITS_MAX) : "";
    put(
      this.picture,
      cardPicture({
        number: card.grouped(shown.padEnd(brand === "amex" ? 15 : 16, "•")),
        name: this.name.value.trim().slice(0, 26) || say("example_card_name"),
        expiry: this.expiry.value.slice(0, 5) || say("expiry_placeholder"),
        brand,
      }),
    );
  }

  /** What the API reads of a card: digits as text. To be asked for only while no field has a mistake. */
  get proof() {
    const { month, year } = card.parseExpiry(this.expiry.value);
    return {
      number: card.withoutSeparators(this.number.value),
      expiration_month: month,
      expiration_year: year,
      cvv: this.cvv.value.trim(),
    };
  }

  /** Nothing may be typed while a request with it is under way. The fields stay readable and focusable. */
  set locked(locked) {
    for (const field of this.fields) field.input.readOnly = locked;
  }

  /** The field that a JSON Pointer of the API names, or null. */
  fieldOf(pointer) {
    const name = pointer.split("/").at(-1);
    return (
      {
        number: this.number,
        name: this.name,
        cvv: this.cvv,
        expiration_month: this.expiry,
        expiration_year: this.expiry,
      }[name] ?? null
    );
  }

  /** Shows the service's mistakes next to their fields and moves to the first; answers those that have no field here. */
  showMistakes(errors) {
    const homeless = [];
    for (const { pointer, code, detail } of errors) {
      const field = this.fieldOf(pointer ?? "");
      if (field && this.fields.includes(field)) field.show(mistakeText(code, detail, hasMessage(code)));
      else homeless.push({ pointer, code, detail });
    }
    this.fields.find((field) => field.shown)?.input.focus();
    return homeless;
  }
}
