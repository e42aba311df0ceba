/** What can be known of a card by reading it (ISO/IEC 7812): brand, grouping, check digit, expiry. */

const NUMBER_DIGITS_MIN = 13;
export const NUMBER_DIGITS_MAX = 19;

// How many digits a number has, where its brand leaves no choice.
const NUMBER_DIGITS = { visa: [13, 16, 19], mastercard: [16], amex: [15], elo: [16] };

// Elo is asked first: some of its ranges lie inside Visa's and Mastercard's. functions/domain/card.py has the same.
const BRANDS = [
  [
    "elo",
    /^(4011(78|79)|43(1274|8935)|45(1416|7393|763[12])|50(4175|6699|67[0-7]\d|9\d{3})|627780|63(6297|6368)|6516[5-7]\d|6550\d\d)/,
  ],
  ["visa", /^4/],
  ["mastercard", /^(5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)/],
  ["amex", /^3[47]/],
];

/** A brand by the name that people read. */
export const BRAND_NAMES = { visa: "Visa", mastercard: "Mastercard", amex: "American Express", elo: "Elo" };

/** The brand of a number, also of its beginning; "other" where it can't be told. */
export const brandOf = (digits) => BRANDS.find(([, pattern]) => pattern.test(digits))?.[0] ?? "other";

/** The text without the spaces, dashes and dots that people and clipboards put into numbers. */
export const withoutSeparators = (text) => text.replace(/[\s\u00a0\u2000-\u200d\u2010-\u2015.-]/g, "");

/** The digits as they are embossed: 4-6-5 for American Express, else groups of four. */
export function grouped(digits) {
  const sizes = brandOf(digits) === "amex" ? [4, 6, 5] : [4, 4, 4, 4, 3];
  const groups = [];
  let rest = digits;
  for (const size of sizes) {
    if (!rest) break;
    groups.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  if (rest) groups.push(rest);
  return groups.join(" ");
}

/** Whether the last digit is the one that the others ask for (ISO/IEC 7812-1, annex B). */
export function passesLuhn(digits) {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = Number(digits[digits.length - 1 - index]) * (index % 2 ? 2 : 1);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
}

/** What is wrong with a number, as the name of a message; null where nothing is. */
export function numberMistake(text) {
  const digits = withoutSeparators(text);
  if (!digits) return "required";
  if (!/^\d+$/.test(digits)) return "digits_only";
  if (digits.length < NUMBER_DIGITS_MIN || digits.length > NUMBER_DIGITS_MAX) return "number_length";
  const brand = brandOf(digits);
  if (brand in NUMBER_DIGITS && !NUMBER_DIGITS[brand].includes(digits.length)) return "invalid_number";
  return passesLuhn(digits) ? null : "invalid_number";
}

/** What is wrong with a CVV of a card of that brand; a brand that is not known yet takes both lengths. */
export function cvvMistake(text, brand) {
  const cvv = text.trim();
  if (!cvv) return "required";
  if (!/^\d+$/.test(cvv)) return "digits_only";
  if (brand === "amex") return cvv.length === 4 ? null : "cvv_four";
  return cvv.length === 3 || (brand === null && cvv.length === 4) ? null : "cvv_three";
}

/** {month, year} of "MM/YY" or "MM/YYYY", whatever stands between them; null where it isn't that. */
export function parseExpiry(text) {
  const match = /^\s*(\d{1,2})\s*[/.\-\s]\s*(\d{2}|\d{4})\s*$/.exec(text) ?? /^\s*(\d{2})(\d{2}|\d{4})\s*$/.exec(text);
  if (!match) return null;
  return { month: Number(match[1]), year: match[2].length === 2 ? 2000 + Number(match[2]) : Number(match[2]) };
}

/** What is wrong with an expiry. A card is good to the end of its month, in UTC as the bank has it. */
export function expiryMistake(text, now = new Date()) {
  if (!text.trim()) return "required";
  const expiry = parseExpiry(text);
  if (!expiry) return "expiry_form";
  if (expiry.month < 1 || expiry.month > 12) return "expiry_month";
  const months = (expiry.year - now.getUTCFullYear()) * 12 + expiry.month - (now.getUTCMonth() + 1);
  return months < 0 ? "expired" : null;
}

/**
 * What was typed of an expiry, with its slash where it belongs; a year of four digits becomes its last two. While
 * deleting, a slash at the end is not put back.
 */
export function formattedExpiry(text, deleting) {
  if (!/^[\d/.\-\s]*$/.test(text)) return text;
  let digits = text.replace(/\D/g, "");
  if (/^\s*\d\s*[/.\-\s]/.test(text) || /^[2-9]/.test(digits)) digits = `0${digits}`;
  const month = digits.slice(0, 2);
  let year = digits.slice(2, digits.startsWith("20", 2) ? 6 : 4);
  if (year.length === 4) year = year.slice(2);
  if (year) return `${month}/${year}`;
  return month.length === 2 && !deleting ? `${month}/` : month;
}
