/**
 * Asks again and again, and less often the less it helps: with jitter, backing off while nothing answers and while nobody
 * looks; at once when the page is shown again or the network is back.
 */

import { Problem } from "../shared/http.js";

const JITTER = 0.2;
const WAIT_SECONDS_MAX = 60;

export class Poller {
  /**
   * poll(signal) asks once and throws what send() of shared/http.js throws. seconds is the time between two polls.
   * onState is told {at, trouble}: when the last poll succeeded, and whether since then it did not: null, "offline" (no
   * network) or "unreachable". onSignedOut is called when the session is no longer good; polling has stopped then. signal
   * ends all of it.
   */
  constructor({ poll, seconds, onState, onSignedOut, signal }) {
    this.poll = poll;
    this.seconds = seconds;
    this.onState = onState;
    this.onSignedOut = onSignedOut;
    this.failures = 0;
    this.at = null;
    this.running = null;
    this.asking = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.later() : this.now()), { signal });
    addEventListener("online", () => this.now(), { signal });
    addEventListener("offline", () => this.running && this.tell("offline"), { signal });
    signal.addEventListener("abort", () => this.stop());
  }

  /** Begins: the page has just heard from the service. */
  start() {
    this.running = new AbortController();
    this.succeeded();
    this.later();
  }

  stop() {
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
  }

  /** How long until the next poll, in milliseconds. */
  waitMs(retryAfterSeconds = 0) {
    const base = document.hidden ? WAIT_SECONDS_MAX : Math.min(this.seconds * 2 ** this.failures, WAIT_SECONDS_MAX);
    const jitter = 1 + JITTER * (2 * Math.random() - 1);
    return Math.max(base * jitter, Math.min(retryAfterSeconds, 5 * WAIT_SECONDS_MAX)) * 1000;
  }

  later(retryAfterSeconds) {
    clearTimeout(this.timer);
    if (this.running) this.timer = setTimeout(() => this.now(), this.waitMs(retryAfterSeconds));
  }

  async now() {
    const running = this.running;
    if (!running || this.asking) return;
    clearTimeout(this.timer);
    this.asking = true;
    let retryAfterSeconds;
    try {
      await this.poll(running.signal);
      if (this.running === running) this.succeeded();
    } catch (error) {
      if (this.running !== running) return;
      if (error instanceof Problem && error.status === 401) {
        this.stop();
        this.onSignedOut();
        return;
      }
      this.failures += 1;
      retryAfterSeconds = error.retryAfterSeconds ?? undefined;
      this.tell(navigator.onLine === false ? "offline" : "unreachable");
    } finally {
      this.asking = false;
    }
    this.later(retryAfterSeconds);
  }

  succeeded() {
    this.failures = 0;
    this.at = new Date();
    this.tell(null);
  }

  tell(trouble) {
    this.onState({ at: this.at, trouble });
  }
}
