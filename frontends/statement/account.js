/** The service as the page asks it: sign-in, sign-out, entries, the file. */

import { fetchJson, send } from "../shared/http.js";

const PAGE_ENTRIES = 500;

export const signIn = (proof) => fetchJson("POST", "/api/session", { body: proof });

export const signOut = () => send("DELETE", "/api/session");

const addressOf = (parameters) => `/api/statement?${new URLSearchParams(parameters)}`;

/**
 * Entries behind a cursor, or of a time, page by page until there are no more. Answers {entries, next, card}: newest last,
 * the cursor to go on from, and whose they are.
 */
export async function entriesOf({ after, from, to }, signal) {
  const bounds = { ...(from && { from }), ...(to && { to }) };
  const entries = [];
  for (let cursor = after; ;) {
    const parameters = { limit: PAGE_ENTRIES, ...bounds, ...(cursor && { after: cursor }) };
    const page = await fetchJson("GET", addressOf(parameters), { signal });
    entries.push(...page.entries);
    if (page.entries.length < PAGE_ENTRIES) return { entries, next: page.next, card: page.card };
    cursor = page.next;
  }
}

/** The whole statement as one CSV file: further parts, which the Link header names, without their header line. */
export async function csvFile(signal) {
  const parts = [];
  for (let address = "/api/statement"; address;) {
    const response = await send("GET", address, { headers: { Accept: "text/csv" }, signal });
    const text = await response.text();
    parts.push(parts.length ? text.slice(text.indexOf("\n") + 1) : text);
    address = /<([^>]+)>;\s*rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
  }
  return new Blob(parts, { type: "text/csv;charset=utf-8" });
}
