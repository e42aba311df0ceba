/** The page's language: by choice, else the first of the browser's languages that is spoken here, else English. */

import { refresh } from "./dom.js";
import { messages as sharedMessages } from "./messages.js";
import * as storage from "./storage.js";

/** The languages, each by its own name. */
export const LANGUAGES = { en: "English", "pt-BR": "Português" };

const CHOICE = "language";
const catalog = { en: { ...sharedMessages.en }, "pt-BR": { ...sharedMessages["pt-BR"] } };
let language = "en";
let title = () => "";

/** What of these languages is spoken here: exactly, or at least of the same tongue. */
export function spoken(languages) {
  for (const wanted of languages) {
    const tongue = wanted.toLowerCase().split("-")[0];
    const found = Object.keys(LANGUAGES).find((own) => own.toLowerCase().split("-")[0] === tongue);
    if (found) return found;
  }
  return "en";
}

export const currentLanguage = () => language;

function follow() {
  const choice = storage.read(CHOICE);
  language = choice in LANGUAGES ? choice : spoken(navigator.languages ?? []);
  document.documentElement.lang = language;
  refresh(document.documentElement);
  document.title = title();
}

/** Adds a frontend's own messages and begins to speak. */
export function speak(messages) {
  for (const [name, own] of Object.entries(messages)) Object.assign(catalog[name], own);
  storage.onOtherTab(CHOICE, follow);
  addEventListener("languagechange", follow);
  follow();
}

export function chooseLanguage(name) {
  storage.write(CHOICE, name);
  follow();
}

/** Whether there is such a message. */
export const hasMessage = (key) => key in catalog.en;

/**
 * The message in the page's language. {name} is replaced by the value of that name, which may be a function; a message
 * with plural forms takes the one of values.count.
 */
export function t(key, values = {}) {
  let message = catalog[language][key];
  if (message === undefined) throw new Error(`no message ${key} in ${language}`);
  if (typeof message === "object") {
    message = message[new Intl.PluralRules(language).select(values.count)] ?? message.other;
  }
  return message.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "function" ? value() : typeof value === "number" ? number(value) : value;
  });
}

/** The message as a function, so that it follows the language wherever it stands. */
export const say = (key, values) => () => t(key, values);

/** Sets the page's title, as a function that follows the language. */
export function setTitle(written) {
  title = written;
  document.title = title();
}

/** A count, written as the language does. */
export const number = (value) => new Intl.NumberFormat(language).format(value);

/** Money from an integer of minor units. The digits go to Intl as text, so that no float comes between. */
export function money(amountMinor, currency) {
  const format = new Intl.NumberFormat(language, { style: "currency", currency });
  const digits = format.resolvedOptions().maximumFractionDigits;
  const text = String(Math.abs(amountMinor)).padStart(digits + 1, "0");
  const whole = digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
  return format.format(`${amountMinor < 0 ? "-" : ""}${whole}`);
}

/** A moment in the reader's time zone; options are Intl.DateTimeFormat's. */
export const dateTime = (moment, options) => new Intl.DateTimeFormat(language, options).format(new Date(moment));

/** A day in words: today, yesterday, else its date. */
export function dayName(moment, now = new Date()) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  const day = midnight(new Date(moment));
  const days = Math.round((day - midnight(now)) / 86_400_000);
  const name =
    days === 0 || days === -1
      ? new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(days, "day")
      : dateTime(day, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
}
