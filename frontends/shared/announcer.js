/** Says outcomes to screen readers, without moving anyone's focus. */

import { h } from "./dom.js";

const region = h("div", { class: "visually-hidden", "aria-live": "polite", role: "status" });
const SPOKEN_MS = 10_000;

/** The region, which must be on the page before anything is said in it. */
export const announcer = () => region;

/** Says a sentence. Each is a node of its own, so that the same one can be said twice. */
export function announce(sentence) {
  const line = h("p", {}, sentence);
  region.append(line);
  setTimeout(() => line.remove(), SPOKEN_MS);
}
