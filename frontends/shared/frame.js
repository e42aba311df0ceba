/** What stands around every page: the way past it, the name of the house, language and theme, the foot. */

import { announcer } from "./announcer.js";
import { h, newId, put, refresh } from "./dom.js";
import { LANGUAGES, chooseLanguage, currentLanguage, say } from "./i18n.js";
import { icon, mark } from "./icon.js";
import { THEMES, chooseTheme, currentTheme, onThemeElsewhere } from "./theme.js";

function languagePicker() {
  const id = newId("language");
  return h(
    "div",
    { class: "picker" },
    h("label", { for: id, class: "visually-hidden" }, say("language")),
    h(
      "select",
      { id, onchange: (event) => chooseLanguage(event.target.value) },
      Object.entries(LANGUAGES).map(([language, name]) =>
        h("option", { value: language, lang: language, selected: () => language === currentLanguage() }, name),
      ),
    ),
  );
}

function themePicker() {
  const picker = h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "visually-hidden" }, say("theme")),
    THEMES.map((theme) =>
      h(
        "label",
        { class: "segment", title: say(`theme_${theme}`) },
        h("input", {
          class: "visually-hidden",
          type: "radio",
          name: "theme",
          checked: () => theme === currentTheme(),
          onchange: () => chooseTheme(theme),
        }),
        icon(theme),
        h("span", { class: "visually-hidden" }, say(`theme_${theme}`)),
      ),
    ),
  );
  onThemeElsewhere(() => refresh(picker));
  return picker;
}

/** Name and home of a frontend. */
export function homeLink(name, byline, href) {
  return h("a", { class: "home", href }, mark(), h("span", { class: "home-name" }, name), byline);
}

/**
 * Puts the frame on the page around the main element, which the HTML has. navigation is what stands at the right of the
 * head, foot what the foot says.
 */
export function putFrame({ home, navigation, foot }) {
  const main = document.querySelector("main");
  put(
    document.body,
    h("a", { class: "skip", href: "#main", onclick: skip }, say("skip")),
    h(
      "header",
      { class: "head" },
      h("div", { class: "width head-row" }, home, h("nav", { "aria-label": say("navigation") }, navigation)),
    ),
    main,
    h(
      "footer",
      { class: "foot" },
      h("div", { class: "tiles", "aria-hidden": "true" }),
      h(
        "div",
        { class: "width foot-row" },
        h("div", { class: "foot-words" }, foot, h("p", {}, say("no_card_network"))),
        h(
          "div",
          { class: "preferences", role: "group", "aria-label": say("preferences") },
          languagePicker(),
          themePicker(),
        ),
      ),
    ),
    announcer(),
  );
  return main;
}

/** Moves into the main element without a new entry in the history. */
function skip(event) {
  event.preventDefault();
  const main = document.querySelector("main");
  main.focus();
  main.scrollIntoView();
}
