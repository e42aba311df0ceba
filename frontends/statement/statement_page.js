/** The statement of the card that is signed in, kept up to date while it is looked at. */

import { announce } from "../shared/announcer.js";
import { BRAND_NAMES } from "../shared/card.js";
import { h, put, refresh } from "../shared/dom.js";
import { dateTime, money, say } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import { csvFile, entriesOf, signOut } from "./account.js";
import { Ledger, saidOf } from "./ledger.js";
import { Poller } from "./poller.js";

const RECENT_DAYS = 90;
const DAY_MS = 86_400_000;

export class StatementPage {
  /**
   * first is what entriesOf() answered for the time from since on; seconds is the time between two polls; onSignedOut is
   * told whether the reader asked for it.
   */
  constructor({ first, since, seconds, onSignedOut }) {
    this.card = first.card;
    this.next = first.next;
    this.since = since;
    this.onSignedOut = onSignedOut;
    this.ledger = new Ledger();
    this.waiting = 0;
    this.closing = new AbortController();
    this.drawnOn = new Date().toDateString();
    this.poller = new Poller({
      poll: (signal) => this.poll(signal),
      seconds,
      onState: (state) => this.drawState(state),
      onSignedOut: () => onSignedOut({ asked: false }),
      signal: this.closing.signal,
    });
    this.build();
    this.ledger.add(first.entries, { fresh: false });
    this.drawSums();
  }

  build() {
    this.heading = h("h1", { tabindex: "-1" }, say("statement"));
    this.state = h("p", { class: "state" });
    this.trouble = h("div", { class: "trouble", role: "status" });
    this.month = h("div", { class: "month" });
    this.nothing = h("div");
    this.older = h("div", { class: "older" });
    this.told = h("div", { class: "notices" });
    this.pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => this.toTop() });
    const brand = BRAND_NAMES[this.card.brand] ?? "";
    const tool = (name, label, onclick) =>
      h(
        "button",
        { type: "button", class: "button button-quiet tool", onclick },
        icon(name),
        h("span", {}, say(label)),
      );
    this.element = h(
      "div",
      { class: "width statement" },
      h(
        "div",
        { class: "statement-head" },
        h(
          "div",
          {},
          this.heading,
          h(
            "p",
            { class: "statement-card" },
            icon("card"),
            h("span", {}, say("card_line", { brand, last4: this.card.last4 })),
          ),
          this.state,
        ),
        this.month,
        h(
          "div",
          { class: "tools" },
          tool("download", "download", (event) => this.download(event.currentTarget)),
          tool("print", "print", () => print()),
          tool("lock", "sign_out", () => this.leave()),
        ),
      ),
      this.told,
      this.trouble,
      h("h2", { class: "visually-hidden" }, say("entries")),
      this.pill,
      this.nothing,
      this.ledger.element,
      this.older,
    );
    this.drawOlder();
    addEventListener("scroll", () => this.drawPill(), { passive: true, signal: this.closing.signal });
  }

  /** Begins to poll. */
  start() {
    this.poller.start();
  }

  /** Stops to poll, until start() is called again. */
  stop() {
    this.poller.stop();
  }

  /** Ends it for good. */
  close() {
    this.closing.abort();
  }

  async poll(signal) {
    let page;
    try {
      page = await entriesOf({ after: this.next }, signal);
    } catch (error) {
      if (error.status !== 422) throw error;
      // The statement was built anew and does not know the cursor. What is here already is recognised by its id.
      page = await entriesOf({ from: this.since }, signal);
    }
    this.next = page.next;
    this.takeIn(page.entries);
  }

  takeIn(entries) {
    const today = new Date().toDateString();
    if (today !== this.drawnOn) {
      // Midnight has passed: today is yesterday now.
      this.drawnOn = today;
      refresh(this.ledger.element);
      this.drawSums();
    }
    const added = this.ledger.add(entries, { fresh: true });
    if (added.length === 0) return;
    this.drawSums();
    if (this.ledger.element.getBoundingClientRect().top < 0) this.waiting += added.length;
    this.drawPill();
    announce(saidOf(added));
  }

  drawSums() {
    const now = new Date();
    const { purchases, amounts } = this.ledger.spentInMonth(now);
    put(
      this.month,
      amounts.length
        ? [
            h("p", { class: "month-name" }, say("spent_in", { month: () => dateTime(now, { month: "long" }) })),
            amounts.map(([currency, minor]) => h("p", { class: "month-amount" }, () => money(minor, currency))),
            h("p", { class: "month-name" }, say("purchases", { count: purchases })),
          ]
        : null,
    );
    this.month.hidden = amounts.length === 0;
    put(this.nothing, this.ledger.size ? null : this.emptiness());
  }

  emptiness() {
    const words = this.since ? say("nothing_lately", { count: RECENT_DAYS }) : say("nothing_yet");
    return h(
      "div",
      { class: "empty" },
      h("div", { class: "empty-tiles", "aria-hidden": "true" }),
      h("p", { class: "empty-title" }, words),
      h("p", {}, say("nothing_yet_lead")),
      h("p", {}, h("a", { class: "button", href: "/" }, say("go_shopping"))),
    );
  }

  drawState({ at, trouble }) {
    const time = () => dateTime(at, { timeStyle: "medium" });
    put(
      this.state,
      h("span", { class: trouble ? "dot dot-off" : "dot", "aria-hidden": "true" }),
      h("span", {}, say("up_to_date", { time })),
    );
    if (trouble === this.shownTrouble) return;
    this.shownTrouble = trouble;
    put(this.trouble, trouble && notice("offline", say(`${trouble}_since`, { time }), say("offline_lead")));
  }

  drawPill() {
    if (this.ledger.element.getBoundingClientRect().top >= 0) this.waiting = 0;
    this.pill.hidden = this.waiting === 0;
    if (this.waiting) put(this.pill, icon("arrow"), h("span", {}, say("new_entries", { count: this.waiting })));
  }

  toTop() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.heading.focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: still ? "instant" : "smooth" });
  }

  drawOlder() {
    if (!this.since) {
      put(this.older, this.ledger.size ? h("p", {}, say("no_older")) : null);
      return;
    }
    put(
      this.older,
      h("button", { type: "button", class: "button button-quiet", onclick: () => this.fetchOlder() }, say("older")),
    );
  }

  async fetchOlder() {
    put(this.older, h("p", { role: "status" }, say("older_loading")));
    try {
      const { entries } = await entriesOf({ to: this.since }, this.closing.signal);
      this.since = null;
      this.ledger.add(entries, { fresh: false });
      this.drawSums();
      this.drawOlder();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.drawOlder();
      this.older.prepend(notice("bad", say("first_load_failed"), say(error.status ? "unavailable" : "no_answer")));
    }
  }

  async download(button) {
    put(this.told);
    button.setAttribute("aria-disabled", "true");
    try {
      const address = URL.createObjectURL(await csvFile(this.closing.signal));
      h("a", { href: address, download: `codebank-${this.card.last4}.csv` }).click();
      URL.revokeObjectURL(address);
    } catch (error) {
      if (error.status === 401) this.onSignedOut({ asked: false });
      else put(this.told, notice("bad", null, say("download_failed")));
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  async leave() {
    put(this.told);
    try {
      await signOut();
    } catch {
      put(this.told, notice("bad", null, say("sign_out_failed")));
      return;
    }
    this.onSignedOut({ asked: true });
  }
}

/** Where a statement that is opened begins: some days ago. */
export function recently() {
  const day = new Date(Date.now() - RECENT_DAYS * DAY_MS);
  day.setUTCHours(0, 0, 0, 0);
  return day.toISOString();
}
