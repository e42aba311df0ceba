/**
 * Elements from code, never from text: what a product or a person is called can't become markup.
 *
 * A child or an attribute may be a function. It is called now, and again by refresh(), so that a change of language
 * reaches what stands on the page, without losing what was typed into it.
 */

const SVG = "http://www.w3.org/2000/svg";
const live = new WeakMap();

function keepLive(node, update) {
  live.set(node, [...(live.get(node) ?? []), update]);
  update();
}

function setAttribute(element, name, value) {
  if (name.startsWith("on")) {
    element.addEventListener(name.slice(2), value);
  } else if (typeof value === "function") {
    keepLive(element, () => setAttribute(element, name, value()));
  } else if (name === "checked" || name === "selected") {
    // The attribute is only what the control began with; what it is now is the property.
    element[name] = value;
  } else if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : value);
  }
}

function nodeOf(child) {
  if (child instanceof Node) return child;
  const node = document.createTextNode("");
  if (typeof child === "function") keepLive(node, () => (node.data = child()));
  else node.data = child;
  return node;
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) setAttribute(element, name, value);
  put(element, ...children);
  return element;
}

/** An HTML element: h("a", { href: "/", class: "link", onclick: f }, "text", element, [more], null). */
export function h(name, attributes, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

/** Puts children in place of what the element holds. */
export function put(element, ...children) {
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(...wanted.map(nodeOf));
}

/** Calls again every function that stands under the root. */
export function refresh(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = root; node; node = walker.nextNode()) live.get(node)?.forEach((update) => update());
}

let ids = 0;

/** An id that no other element of the page has. */
export const newId = (name) => `${name}-${++ids}`;
