"""The whole path, in a real browser, through a whole running system: from the shop's front to the statement."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.hands import (
    WORDS,
    fill_card,
    go_to_checkout,
    has_no_sideways_scroll,
    pay,
    problem_of,
    sign_in,
)
from tests.running import RunningSystem

pytestmark = [pytest.mark.browser, pytest.mark.system]

ARRIVAL_MS_MAX = 60_000
"""How long a busy machine may take to poll once more. What is promised is that nobody has to reload."""


@pytest.fixture(scope="module")
def cards(system: RunningSystem) -> list[dict[str, Any]]:
    """The demo cards."""
    return system.cards()


def declining(cards: list[dict[str, Any]], code: str) -> dict[str, Any]:
    """The demo card that is declined so, of which each code has one that is right in every other way."""
    return next(card for card in cards if card["name"] == f"Declined {code}")


def entries_of(system: RunningSystem, card: dict[str, Any]) -> list[dict[str, Any]]:
    """The statement of a card, as the API has it."""
    proof = {name: card[name] for name in ("number", "expiration_month", "expiration_year", "cvv")}
    with httpx.Client(base_url=system.url, timeout=30) as client:
        client.post("/api/session", json=proof).raise_for_status()
        entries: list[dict[str, Any]] = []
        after = None
        while True:
            parameters = {"limit": 100} | ({"after": after} if after else {})
            page = client.get("/api/statement", params=parameters).raise_for_status().json()
            if not page["entries"]:
                return entries
            entries += page["entries"]
            after = page["next"]


def order_id_of(page: Page) -> str:
    expect(page.locator("[data-status=approved]")).to_be_visible()
    return page.url.rpartition("/")[2]


def test_a_purchase_appears_on_the_open_statement_without_a_reload(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]]
) -> None:
    card = cards[0]
    statement = visitor.visit(system.url, "/statement/")
    sign_in(statement, card)
    expect(statement.locator(".statement-card")).to_contain_text(card["number"][-4:])
    navigations: list[str] = []
    statement.on("framenavigated", lambda frame: navigations.append(frame.url))

    shop = visitor.visit(system.url)
    expect(shop.locator(".tile-link")).to_have_count(12)
    visitor.shoot(shop, "journey-1-front")
    shop.get_by_role("link", name=re.compile("^Chess set")).click()
    expect(shop.get_by_role("heading", name="Chess set")).to_be_visible()
    visitor.shoot(shop, "journey-2-product")
    shop.get_by_role("button", name="One more: Chess set").click()
    shop.get_by_role("button", name="Add to cart").click()
    shop.get_by_role("link", name="View cart").click()
    expect(shop.locator("output")).to_have_text("R$918.00")
    visitor.shoot(shop, "journey-3-cart")
    shop.get_by_role("link", name="Check out").click()
    fill_card(shop, card)
    visitor.shoot(shop, "journey-4-checkout")
    pay(shop)
    order_id = order_id_of(shop)
    expect(shop.locator(".lead")).to_have_text("The payment of R$918.00 was approved.")
    visitor.shoot(shop, "journey-5-order")

    entry = statement.locator(".entry", has=statement.locator(f"a[href='/orders/{order_id}']"))
    expect(entry).to_be_visible(timeout=ARRIVAL_MS_MAX)
    expect(entry).to_contain_text("R$918.00")
    expect(statement.locator(".entry").first).to_contain_text("R$918.00")
    expect(statement.get_by_role("status").filter(has_text="R$918.00 at Codeshop")).to_be_attached()
    visitor.shoot(statement, "journey-6-statement")
    assert navigations == []
    entry.get_by_role("link", name="Order").click()
    assert order_id_of(statement) == order_id


def test_a_poll_with_nothing_new_is_answered_with_304(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]]
) -> None:
    page = visitor.visit(system.url, "/statement/")
    # Chromium shows a page the 200 that it had; what went over the wire is seen by its debugger.
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    statuses: list[int] = []
    session.on("Network.responseReceivedExtraInfo", lambda event: statuses.append(event["statusCode"]))
    sign_in(page, cards[1])
    for _ in range(2):
        with page.expect_response(re.compile("/api/statement\\?.*after="), timeout=ARRIVAL_MS_MAX):
            pass
    expect(page.locator(".dot-off")).to_have_count(0)
    assert 304 in statuses


def test_everything_can_be_done_with_the_keyboard(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]]
) -> None:
    page = visitor.visit(system.url)
    expect(page.locator(".tile-link")).to_have_count(12)

    def tab_to(selector: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", selector
                return
        raise AssertionError(f"no Tab leads to {selector}")

    tab_to("a[href='/products/ceramic-mug']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ceramic mug")).to_be_focused()
    tab_to(".product-buy .button")
    page.keyboard.press("Enter")
    expect(page.locator(".badge")).to_have_text("1")
    tab_to("header a[href='/cart']")
    page.keyboard.press("Enter")
    expect(page.locator(".line")).to_have_count(1)
    tab_to("a[href='/checkout']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Check out")).to_be_focused()
    card = cards[2]
    expiry = f"{card['expiration_month']:02}{card['expiration_year'] % 100:02}"
    for field, text in (("number", card["number"]), ("name", card["name"]), ("expiry", expiry), ("cvv", card["cvv"])):
        tab_to(f"input[name={field}]")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    order_id = order_id_of(page)
    expect(page.get_by_role("heading", name="Thank you, it's yours")).to_be_focused()
    tab_to("a.button[href='/statement/']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="See what your card does")).to_be_visible()
    for field, text in (("number", card["number"]), ("expiry", expiry), ("cvv", card["cvv"])):
        tab_to(f"input[name={field}]")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.locator(f"a[href='/orders/{order_id}']")).to_be_visible(timeout=ARRIVAL_MS_MAX)
    tab_to(f"a[href='/orders/{order_id}']")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("insufficient_funds", "The card's limit is not enough for this amount."),
        ("unknown_card", "The bank does not know this card."),
        ("incorrect_cvc", "The CVV, or the month and year, are not this card's."),
        ("expired_card", "The bank says that this card has expired."),
        ("card_blocked", "This card is blocked."),
        ("card_locked", "the bank has locked this card for a while."),
        ("currency_mismatch", "This card pays in another currency."),
    ],
)
def test_each_decline_of_the_bank_is_told_in_words(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]], code: str, words: str
) -> None:
    visitor.expects(402)
    page = visitor.visit(system.url)
    go_to_checkout(page, product="Field notebook")
    fill_card(page, declining(cards, code))
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged.")
    visitor.shoot(page, f"decline-{code}")


def test_what_the_bank_knows_better_is_said_next_to_the_field(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]]
) -> None:
    visitor.expects(402)
    page = visitor.visit(system.url)
    go_to_checkout(page, product="Field notebook")
    fill_card(page, declining(cards, "unknown_card"))
    pay(page)
    expect(problem_of(page, "Card number")).to_contain_text("The bank does not know this card.")
    fill_card(page, cards[0])
    pay(page)
    order_id_of(page)


def test_a_click_too_many_a_reload_and_a_lost_answer_charge_once(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]]
) -> None:
    visitor.expects("ERR_CONNECTION_RESET")
    card = cards[3]
    before = len(entries_of(system, card))
    page = visitor.visit(system.url)
    go_to_checkout(page, product="Bicycle bell")
    answered: list[int] = []

    def lose(route: Route) -> None:
        answered.append(route.fetch().status)
        route.abort("connectionreset")

    page.route("**/api/orders", lose)
    fill_card(page, card)
    page.locator("button[type=submit]").dblclick()
    expect(page.get_by_role("alert")).to_contain_text("We don't know yet", timeout=ARRIVAL_MS_MAX)
    assert answered == [201, 201, 201]
    page.unroute("**/api/orders")
    page.reload()
    fill_card(page, card)
    pay(page)
    order_id = order_id_of(page)

    # Entries of one card come in order: once the next purchase is there, a second charge would be too.
    page.goto("/")
    go_to_checkout(page, product="Field notebook")
    fill_card(page, card)
    pay(page)
    last = order_id_of(page)
    page.goto("/statement/")
    sign_in(page, card)
    expect(page.locator(f"a[href='/orders/{last}']")).to_be_visible(timeout=ARRIVAL_MS_MAX)
    entries = entries_of(system, card)[before:]
    assert [entry["order_id"] for entry in entries] == [order_id, last]


@pytest.mark.parametrize(("language", "theme"), [("pt-BR", "dark"), ("pt-BR", "light")])
def test_it_all_works_on_a_phone_in_portuguese(
    visitor: Visitor, system: RunningSystem, cards: list[dict[str, Any]], language: str, theme: str
) -> None:
    visitor.expects(402)
    page = visitor.visit(system.url, language=language, theme=theme, phone=True)

    def look(name: str) -> None:
        visitor.shoot(page, f"phone-{theme}-{name}")
        assert has_no_sideways_scroll(page), name

    expect(page.locator(".tile-link")).to_have_count(12)
    look("1-front")
    go_to_checkout(page, language=language)
    pay(page)
    expect(problem_of(page, WORDS[language]["number"])).to_have_text("Preencha este campo.")
    look("2-mistakes")
    fill_card(page, declining(cards, "insufficient_funds"), language=language)
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("O limite do cartão não é suficiente para este valor.")
    look("3-declined")
    fill_card(page, cards[1], language=language)
    pay(page)
    order_id_of(page)
    expect(page.locator(".lead")).to_have_text("O pagamento de R$\N{NO-BREAK SPACE}79,00 foi aprovado.")
    look("4-order")
    page.goto("/statement/")
    look("5-sign-in")
    sign_in(page, cards[1], language=language)
    expect(page.locator(".entry").first).to_contain_text("R$\N{NO-BREAK SPACE}79,00", timeout=ARRIVAL_MS_MAX)
    look("6-statement")
