/** Requests with a deadline, and what can become of them: an answer, a Problem, or no answer at all. */

/** The service answered that it can't or won't: problem+json (RFC 9457). */
export class Problem extends Error {
  constructor(status, document, retryAfterSeconds) {
    super(document.detail ?? document.title ?? `HTTP ${status}`);
    this.status = status;
    this.members = document;
    this.errors = Array.isArray(document.errors) ? document.errors : [];
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** No answer came, or none that can be read: what happened on the other side is not known. */
export class NoAnswer extends Error {}

const TIMEOUT_MS = 10_000;

/** Retry-After (RFC 9110 §10.2.3) in seconds, from a number or a date; null where there is none. */
export function retryAfterSeconds(header, now = Date.now()) {
  if (!header) return null;
  if (/^\d+$/.test(header)) return Number(header);
  const moment = Date.parse(header);
  return Number.isNaN(moment) ? null : Math.max(0, Math.ceil((moment - now) / 1000));
}

/**
 * Sends one request and answers its Response, when that says success. Throws Problem, NoAnswer, or the AbortError of
 * a signal that the caller aborted.
 */
export async function send(method, path, { body, headers = {}, timeoutMs = TIMEOUT_MS, signal } = {}) {
  const deadline = AbortSignal.timeout(timeoutMs);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        Accept: "application/json, application/problem+json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      // Revalidates what the browser has, so that nothing new costs a 304.
      cache: "no-cache",
      credentials: "same-origin",
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new NoAnswer(error.message);
  }
  if (response.ok) return response;
  let document = {};
  try {
    document = await response.json();
  } catch {
    signal?.throwIfAborted();
    // An error page of something in between says no more than its status.
  }
  throw new Problem(response.status, document ?? {}, retryAfterSeconds(response.headers.get("Retry-After")));
}

/** The JSON of a successful answer. Throws as send does. */
export async function fetchJson(method, path, options = {}) {
  const response = await send(method, path, options);
  try {
    return await response.json();
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new NoAnswer(error.message);
  }
}

/** Waits, unless the signal is aborted first. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
