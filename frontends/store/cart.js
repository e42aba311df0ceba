/** The cart: what the shopper means to buy. It is kept in this browser and shared by its tabs. */

import * as storage from "../shared/storage.js";

const NAME = "cart";
export const QUANTITY_MAX = 99;

const listeners = new Set();
storage.onOtherTab(NAME, () => changed());

function changed() {
  for (const listener of listeners) listener();
}

function keep(lines) {
  storage.write(NAME, lines);
  changed();
}

const isLine = (line) => typeof line?.product_id === "string" && Number.isInteger(line.quantity) && line.quantity > 0;

/** What is in the cart: {product_id, slug, name, image_url, price_minor, currency, quantity}, in the order of adding. */
export function lines() {
  const found = storage.read(NAME);
  return Array.isArray(found) ? found.filter(isLine) : [];
}

export const count = () => lines().reduce((sum, line) => sum + line.quantity, 0);

/** Calls back on each change, also one made in another tab, until the signal is aborted. */
export function onChange(listener, signal) {
  listeners.add(listener);
  signal?.addEventListener("abort", () => listeners.delete(listener));
}

export function add(product, quantity) {
  const all = lines();
  const line = all.find((each) => each.product_id === product.id);
  if (line) line.quantity = Math.min(QUANTITY_MAX, line.quantity + quantity);
  else all.push({ ...snapshot(product), quantity: Math.min(QUANTITY_MAX, quantity) });
  keep(all);
}

function snapshot({ id, slug, name, image_url, price_minor, currency }) {
  return { product_id: id, slug, name, image_url, price_minor, currency };
}

export function setQuantity(productId, quantity) {
  keep(lines().map((line) => (line.product_id === productId ? { ...line, quantity } : line)));
}

/** Takes over what the store says of a product now, such as another price. */
export function update(product) {
  const before = lines();
  const after = before.map((line) => (line.product_id === product.id ? { ...line, ...snapshot(product) } : line));
  if (JSON.stringify(after) !== JSON.stringify(before)) keep(after);
}

export function remove(productId) {
  keep(lines().filter((line) => line.product_id !== productId));
}

export const clear = () => keep([]);

/** The total in minor units; null where the lines have more than one currency. */
export function totalOf(all) {
  const currencies = new Set(all.map((line) => line.currency));
  if (currencies.size !== 1) return null;
  return {
    amountMinor: all.reduce((sum, line) => sum + line.price_minor * line.quantity, 0),
    currency: all[0].currency,
  };
}
