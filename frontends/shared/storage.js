/**
 * Small values that outlive the page, as JSON under "codebank.". Where the browser refuses storage, they live as long as
 * the page does. Never a card's number or CVV.
 */

const PREFIX = "codebank.";
const fallback = new Map();

export function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return fallback.get(name) ?? null;
  }
}

export function write(name, value) {
  fallback.set(name, value);
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // The value stays in this page's memory, which is all that this browser grants.
  }
}

export function forget(name) {
  fallback.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // Nothing was kept.
  }
}

/** Calls back when another tab writes or forgets the value. */
export function onOtherTab(name, callback) {
  addEventListener("storage", (event) => {
    if (event.key === PREFIX + name || event.key === null) callback();
  });
}
