/** A labelled input that says its own mistake beside itself. */

import { h, newId, put } from "./dom.js";
import { say, t } from "./i18n.js";

/** The mistake of a field as live text: a known code in the page's language, else the service's own sentence. */
export function mistakeText(code, detail, known) {
  return known ? say(code) : say("error_fallback", { detail: detail ?? code });
}

// While a button is pressed, nothing may move under it: a mistake that appeared on blur would push away what is being
// clicked. So what is to be said waits until the press is over.
const waiting = new Set();
let pressed = false;
addEventListener("pointerdown", () => (pressed = true), true);
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(
    name,
    () => {
      pressed = false;
      setTimeout(() => {
        for (const field of waiting) field.check();
        waiting.clear();
      });
    },
    true,
  );
}

export class Field {
  /**
   * name is the input's; label and hint are messages; mistake(text) answers the name of a message, or null; attributes
   * go to the input; format(text, deleting) writes what was typed as people write it; aside stands in the input's frame.
   */
  constructor({ name, label, hint, mistake, attributes, format, aside }) {
    const id = newId(name);
    this.name = name;
    this.findMistake = mistake;
    this.hint = h("p", { class: "field-hint", id: `${id}-hint` }, hint);
    this.problem = h("p", { class: "field-problem", id: `${id}-problem` });
    this.input = h("input", {
      id,
      name,
      type: "text",
      required: true,
      "aria-describedby": `${id}-problem ${id}-hint`,
      autocapitalize: "off",
      spellcheck: "false",
      ...attributes,
      oninput: (event) => {
        if (format) reformat(this.input, format, event.inputType);
        // A mistake goes away as soon as it is mended; a new one waits until the field is left.
        if (this.shown && !this.findMistake(this.value)) this.show(null);
      },
      onblur: () => {
        if (!this.value.trim()) return;
        if (pressed) waiting.add(this);
        else this.check();
      },
    });
    this.element = h(
      "div",
      { class: `field field-${name}` },
      h("label", { for: id }, label),
      h("div", { class: "field-frame" }, this.input, aside),
      this.hint,
      this.problem,
    );
    this.shown = null;
  }

  get value() {
    return this.input.value;
  }

  /** Looks for a mistake, shows it or takes it away, and answers whether there is none. */
  check() {
    const code = this.findMistake(this.value);
    this.show(code && say(code));
    return !code;
  }

  /** Shows a mistake, a text or a function that answers one; null takes it away. */
  show(mistake) {
    this.shown = mistake;
    put(this.problem, mistake);
    this.element.classList.toggle("field-wrong", Boolean(mistake));
    if (mistake) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }
}

/** Writes the input's text as it should look, and leaves the caret behind the same characters that were before it. */
function reformat(input, format, inputType) {
  const before = input.value;
  const after = format(before, inputType?.startsWith("delete") ?? false);
  if (after === before) return;
  const caret = input.selectionStart ?? before.length;
  const atEnd = caret === before.length;
  const characters = before.slice(0, caret).replace(/\D/g, "").length;
  input.value = after;
  let position = 0;
  for (let seen = 0; seen < characters && position < after.length; position++) if (/\d/.test(after[position])) seen++;
  if (atEnd) position = after.length;
  if (document.activeElement === input) input.setSelectionRange(position, position);
}

/** Checks every field, and moves to the first that has a mistake. Answers whether there is none. */
export function checkAll(fields) {
  const wrong = fields.filter((field) => !field.check());
  wrong[0]?.input.focus();
  return wrong.length === 0;
}

/** How long to wait, in words. */
export function waitText(seconds) {
  return seconds < 100 ? t("seconds", { count: seconds }) : t("minutes", { count: Math.ceil(seconds / 60) });
}
