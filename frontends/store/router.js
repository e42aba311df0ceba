/** Pages of one document: which path is whose, going there, and coming back to where one was. */

import { h, put } from "../shared/dom.js";
import { setTitle } from "../shared/i18n.js";
import { clearToast } from "./toast.js";

let routes = [];
let otherwise;
let main;
let leave = new AbortController();
let place = 0;
const scrolled = new Map();

const pattern = (path) => new RegExp(`^${path.replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`);

/**
 * Begins to show pages in the element. table is [path, page] pairs, notFound the page of every other path. A page is a
 * function of {params, query, signal, handed} that answers {title, element}, the title as a function. signal is aborted
 * when the page is left; handed is what navigate() was given.
 */
export function start(element, table, notFound) {
  main = element;
  otherwise = notFound;
  routes = table.map(([path, page]) => [pattern(path), page]);
  history.scrollRestoration = "manual";
  place = history.state?.place ?? 0;
  addEventListener("popstate", (event) => {
    scrolled.set(place, scrollY);
    place = event.state?.place ?? 0;
    show({ focus: true });
  });
  document.addEventListener("click", follow);
  show({ focus: false });
}

/** Goes to a path of this frontend. handed reaches the page, but not the history. */
export function navigate(path, { replace = false, handed = null } = {}) {
  scrolled.set(place, scrollY);
  if (replace) {
    history.replaceState({ place }, "", path);
  } else {
    place += 1;
    history.pushState({ place }, "", path);
  }
  scrolled.delete(place);
  show({ focus: true, handed });
}

/** Shows the page that the address names once more. */
export const again = () => show({ focus: true });

/** Writes the address of what is shown, without going anywhere. */
export const rename = (path) => history.replaceState({ place }, "", path);

function routeOf(pathname) {
  for (const [expression, page] of routes) {
    const match = expression.exec(pathname);
    if (match) return { page, params: match.groups ?? {} };
  }
  return null;
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || link.hash || !routeOf(link.pathname)) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}

function show({ focus, handed = null }) {
  leave.abort();
  leave = new AbortController();
  clearToast();
  const { page, params } = routeOf(location.pathname) ?? { page: otherwise, params: {} };
  const query = new URLSearchParams(location.search);
  const shown = page({ params, query, signal: leave.signal, handed });
  setTitle(shown.title);
  put(main, h("div", { class: "page" }, shown.element));
  scrollTo({ top: scrolled.get(place) ?? 0, behavior: "instant" });
  if (!focus) return;
  // Whoever can't see the change is told of it: focus goes to the heading of the new page.
  const target = main.querySelector("h1") ?? main;
  if (target.tabIndex < 0) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}
