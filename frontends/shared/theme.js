/** Light and dark: as the system has it, or by choice. early.js applies a kept choice before the first paint. */

import * as storage from "./storage.js";

export const THEMES = ["system", "light", "dark"];
const CHOICE = "theme";

export function currentTheme() {
  const choice = storage.read(CHOICE);
  return THEMES.includes(choice) ? choice : "system";
}

function follow() {
  const theme = currentTheme();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function chooseTheme(theme) {
  if (theme === "system") storage.forget(CHOICE);
  else storage.write(CHOICE, theme);
  follow();
}

/** Follows a choice made in another tab, and calls back. */
export function onThemeElsewhere(callback) {
  storage.onOtherTab(CHOICE, () => {
    follow();
    callback();
  });
}
