/** The statement's two faces, signed out and signed in, and the way from one to the other. */

import { announce } from "../shared/announcer.js";
import { h, put } from "../shared/dom.js";
import { homeLink, putFrame } from "../shared/frame.js";
import { say, setTitle, speak, t } from "../shared/i18n.js";
import { icon } from "../shared/icon.js";
import { notice } from "../shared/notice.js";
import * as storage from "../shared/storage.js";
import { entriesOf } from "./account.js";
import { messages } from "./messages.js";
import { signInPage } from "./sign_in.js";
import { StatementPage, recently } from "./statement_page.js";

// When the session ends, and nothing else about it: whether it is worth asking before a sign-in form is shown.
const SESSION_END = "session-end";

speak(messages);
const main = putFrame({
  home: homeLink("codebank", h("span", { class: "home-byline" }, say("statement")), "/statement/"),
  navigation: h("a", { class: "head-link", href: "/" }, icon("bag"), h("span", {}, say("to_store"))),
  foot: h("p", {}, say("foot")),
});
const seconds = Number(main.dataset.pollSeconds);
const entrance = h("div");
const inside = h("div", { hidden: true });
put(main, entrance, inside);

// The statement that is open or, after its session ended, closed but not forgotten; and where its reader was.
let page = null;
let cardToken = null;
let place = 0;

function showSignIn(told, { focus }) {
  storage.forget(SESSION_END);
  inside.hidden = true;
  put(entrance, signInPage({ told, onSignedIn: signedIn }));
  setTitle(() => `${t("sign_in")} · codebank`);
  scrollTo({ top: 0, behavior: "instant" });
  if (focus) entrance.querySelector("h1").focus();
}

async function signedIn(session) {
  storage.write(SESSION_END, session.expires_at);
  const same = page && cardToken === session.card.token;
  cardToken = session.card.token;
  if (same) showPage({ focus: true, top: place });
  else await open({ focus: true });
}

function signedOut({ asked }) {
  page.stop();
  place = scrollY;
  if (asked) {
    page.close();
    page = null;
    cardToken = null;
    put(inside);
    showSignIn(notice("good", say("signed_out"), null), { focus: true });
    announce(t("signed_out"));
    return;
  }
  const { last4 } = page.card;
  showSignIn(notice("info", say("session_expired_title"), say("session_expired_card", { last4 })), { focus: true });
  announce(`${t("session_expired_title")} ${t("session_expired_card", { last4 })}`);
}

function showPage({ focus, top }) {
  put(entrance);
  inside.hidden = false;
  setTitle(() => `${t("statement")} · codebank`);
  if (focus) page.heading.focus({ preventScroll: true });
  scrollTo({ top, behavior: "instant" });
  page.start();
}

/** Opens the statement of whoever is signed in. */
async function open({ focus }) {
  put(entrance, h("p", { class: "width opening", role: "status" }, say("checking")));
  setTitle(() => `${t("statement")} · codebank`);
  const since = recently();
  try {
    const first = await entriesOf({ from: since });
    page?.close();
    page = new StatementPage({ first, since, seconds, onSignedOut: signedOut });
    put(inside, page.element);
    showPage({ focus, top: 0 });
  } catch (error) {
    if (error.status === 401) {
      showSignIn(notice("info", say("session_expired_title"), say("session_expired")), { focus });
      return;
    }
    const retry = h(
      "button",
      { class: "button button-quiet", type: "button", onclick: () => open({ focus: true }) },
      say("try_again"),
    );
    const words = say(error.status ? "unavailable" : "no_answer");
    put(
      entrance,
      h(
        "div",
        { class: "width opening" },
        h("h1", { class: "visually-hidden" }, say("statement")),
        notice("bad", say("first_load_failed"), words, retry),
      ),
    );
  }
}

if (Date.parse(storage.read(SESSION_END)) > Date.now()) open({ focus: false });
else showSignIn(null, { focus: false });
