/** Pages that only say something: that nothing is here, or that something failed. */

import { h } from "../shared/dom.js";
import { say, t } from "../shared/i18n.js";
import { notice } from "../shared/notice.js";

/** That what was asked for is not here, and the way back. */
export function missing(title, lead) {
  return h(
    "div",
    { class: "width empty" },
    h("div", { class: "empty-tiles", "aria-hidden": "true" }),
    h("h1", { tabindex: "-1" }, say(title)),
    h("p", {}, say(lead)),
    h("p", {}, h("a", { class: "button", href: "/" }, say("continue_shopping"))),
  );
}

/** That it could not be fetched, with a button to try again. */
export function failure(title, error, retry) {
  return h(
    "div",
    { class: "width" },
    h("h1", { class: "visually-hidden", tabindex: "-1" }, say(title)),
    notice(
      "bad",
      say(title),
      say(error.status ? "unavailable" : "no_answer"),
      h("button", { class: "button button-quiet", type: "button", onclick: retry }, say("try_again")),
    ),
  );
}

export const notFoundPage = () => ({
  title: () => `${t("not_found")} · Codeshop`,
  element: missing("not_found", "not_found_lead"),
});
