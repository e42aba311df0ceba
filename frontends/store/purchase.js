/**
 * One purchase on its way to the bank, under one idempotency key.
 *
 * The key is made when a cart comes to the checkout, and kept in this browser until there is a definite answer: approved,
 * declined, or an order that waits. A second click, a reload, another tab and an answer that was lost on the way all send
 * the same key, and the store gives the answer that it gave first.
 */

import { NoAnswer, Problem, fetchJson, pause } from "../shared/http.js";
import * as storage from "../shared/storage.js";

const NAME = "purchase";
const TIMEOUT_MS = 25_000;
const RETRY_MS = [1_000, 3_000];
const RETRY_SECONDS_MAX = 10;
// What is in between, or too busy, did not say what became of the purchase.
const UNKNOWN_OUTCOME = new Set([500, 502, 503, 504]);

/** A random UUID, also where crypto.randomUUID is missing: that is so on plain http of another host than localhost. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The cart's lines in the one order in which they are sent: to the store, other items are another request. */
export function inOrder(lines) {
  return [...lines].sort((one, other) => (one.product_id < other.product_id ? -1 : 1));
}

function contentsOf(lines) {
  return JSON.stringify(inOrder(lines).map(({ product_id, quantity }) => [product_id, quantity]));
}

/**
 * The purchase of this cart: {key, contents, sent, doubt}. The one that is kept, where the cart is the same; else a new
 * one, whose doubt says that another cart's payment was sent and never answered.
 */
export function purchaseOf(lines) {
  const contents = contentsOf(lines);
  const found = storage.read(NAME);
  if (found?.contents === contents && typeof found.key === "string") return found;
  const purchase = { key: newKey(), contents, sent: false, doubt: Boolean(found?.sent || found?.doubt) };
  storage.write(NAME, purchase);
  return purchase;
}

/** There is a definite answer: the next purchase is another one. */
export const settle = () => storage.forget(NAME);

/**
 * Sends the purchase and answers the order, also a declined one. Throws Problem where the store refused it, and NoAnswer
 * where, after some repeats under the same key, it is still not known what became of it. onWait is called before each
 * repeat.
 */
export async function send(purchase, card, lines, onWait) {
  const request = {
    headers: { "Idempotency-Key": purchase.key },
    body: {
      credit_card: card,
      items: inOrder(lines).map(({ product_id, quantity }) => ({ product_id, quantity })),
    },
    timeoutMs: TIMEOUT_MS,
  };
  storage.write(NAME, { ...purchase, sent: true });
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetchJson("POST", "/api/orders", request);
    } catch (error) {
      if (error instanceof Problem && error.status === 402) return { ...error.members.order, ...declineOf(error) };
      const unknown = error instanceof NoAnswer || UNKNOWN_OUTCOME.has(error.status);
      if (!unknown || attempt === RETRY_MS.length) throw error;
      onWait();
      await pause(Math.max(RETRY_MS[attempt], Math.min(error.retryAfterSeconds ?? 0, RETRY_SECONDS_MAX) * 1000));
    }
  }
}

function declineOf(problem) {
  return { status: "declined", decline_code: problem.members.decline_code ?? null };
}
