/** A notice: what happened, in a sentence or two, and what can be done about it. */

import { h } from "./dom.js";
import { icon } from "./icon.js";

const ICONS = { good: "check", bad: "alert", waiting: "clock", info: "card", offline: "offline" };

/**
 * kind is good, bad, waiting, info or offline; bad ones are said at once by screen readers. The texts may be functions;
 * actions are links or buttons.
 */
export function notice(kind, title, text, ...actions) {
  return h(
    "div",
    { class: `notice notice-${kind}`, role: kind === "bad" ? "alert" : null },
    icon(ICONS[kind]),
    h(
      "div",
      {},
      title && h("p", { class: "notice-title" }, title),
      text && h("p", {}, text),
      actions.length ? h("p", { class: "notice-actions" }, actions) : null,
    ),
  );
}
