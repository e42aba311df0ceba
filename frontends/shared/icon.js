/** Icons of one hand: 24 by 24, lines of 1.8. They are ornaments; the words beside them or their button's label say it. */

import { s } from "./dom.js";

const PATHS = {
  alert: "M12 3.5 2.8 19.5h18.4L12 3.5ZM12 10v4.2M12 17v.1",
  arrow: "M5 12h14M13 6l6 6-6 6",
  back: "M19 12H5M11 6l-6 6 6 6",
  bag: "M5.5 8.5h13l1 12h-15l1-12ZM8.5 8.5V7a3.5 3.5 0 0 1 7 0v1.5",
  card: "M3 6.5h18v11H3zM3 10h18M6.5 14.5h4",
  check: "m5 12.5 4.5 4.5L19 7.5",
  clock: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM12 7.5V12l3 2",
  close: "M6 6l12 12M18 6 6 18",
  dark: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
  download: "M12 4v11M7.5 10.5 12 15l4.5-4.5M5 19.5h14",
  light:
    "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  lock: "M5.5 11h13v9.5h-13zM8.5 11V7.5a3.5 3.5 0 0 1 7 0V11",
  minus: "M6 12h12",
  offline:
    "M3 3l18 18M5 12.5a10 10 0 0 1 4-2.4M13.5 9.7a10 10 0 0 1 5.5 2.8M8.5 16a5 5 0 0 1 7 0M12 19.5v.1M2.5 8.8A14 14 0 0 1 6 6.5M10.5 5.1a14 14 0 0 1 11 3.7",
  plus: "M12 6v12M6 12h12",
  print: "M7 9V4h10v5M7 17H4V9h16v8h-3M7 14h10v6H7z",
  refund: "M9 5 4.5 9.5 9 14M4.5 9.5H14a5.5 5.5 0 0 1 0 11H9",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13ZM15.5 15.5l5 5",
  statement: "M6 3.5h12v17l-3-2-3 2-3-2-3 2zM9.5 8.5h5M9.5 12.5h5",
  system: "M3.5 5h17v11h-17zM9 20h6M12 16v4",
};

export function icon(name) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", width: "24", height: "24", "aria-hidden": "true", focusable: "false" },
    s("path", { d: PATHS[name] }),
  );
}

/** The mark of the house: two tiles make the c, a disc and a quarter stand in it. The same drawing as mark.svg. */
export function mark() {
  return s(
    "svg",
    { class: "mark", viewBox: "0 0 32 32", width: "32", height: "32", "aria-hidden": "true", focusable: "false" },
    s("path", { class: "mark-ground", d: "M0 0h32v32H0z" }),
    s("path", { class: "mark-line", d: "M16 3A13 13 0 0 0 16 29V21.5A5.5 5.5 0 0 1 16 10.5Z" }),
    s("path", { class: "mark-sun", d: "M19 3A10 10 0 0 1 29 13H19Z" }),
    s("path", { class: "mark-line", d: "M19 29A10 10 0 0 0 29 19H19Z" }),
  );
}
