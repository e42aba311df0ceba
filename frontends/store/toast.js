/** A word in the corner about what was just done. Screen readers say it, and it goes away by itself. */

import { h, put } from "../shared/dom.js";

const SHOWN_MS = 5_000;
const corner = h("div", { class: "toast-corner", role: "status" });
let timer;

/** Where toasts appear; it must be on the page. */
export const toastCorner = () => corner;

export function toast(sentence, ...actions) {
  clearTimeout(timer);
  put(corner, h("div", { class: "toast" }, h("p", {}, sentence), actions));
  timer = setTimeout(() => put(corner), SHOWN_MS);
}

/** Takes away what is shown, as when the reader goes on. */
export function clearToast() {
  clearTimeout(timer);
  put(corner);
}
