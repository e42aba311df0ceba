"""Whatever happens between the click and the answer, a purchase has one key, and the shopper is told the truth."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import Answer, FakeServices, Json, problem, some_card
from tests.browser.hands import fill_card, go_to_checkout, pay, problem_of

pytestmark = pytest.mark.browser

STEP_MS = 500
STEPS_MAX = 60

Order = Callable[[Route, Json], Answer | None]


@pytest.fixture
def page(visitor: Visitor, site: str, services: FakeServices) -> Page:
    """The checkout. Time stands still, so that what is asked for again is, when the test lets time pass."""
    page = visitor.visit(site, services=services, clock=True)
    go_to_checkout(page)
    return page


def wait_until_sent(page: Page, services: FakeServices, times: int) -> None:
    """Lets time pass until the purchase was sent so many times."""
    for _ in range(STEPS_MAX):
        if len(services.order_keys) == times:
            return
        page.clock.run_for(STEP_MS)
        page.evaluate("0")  # What the page has sent meanwhile is answered now.
    raise AssertionError(f"the purchase was sent {len(services.order_keys)} times, not {times}")


def storage_of(page: Page) -> str:
    kept: str = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    return kept


def key_of(route: Route) -> str:
    return route.request.headers["idempotency-key"]


def lose_the_answer(services: FakeServices) -> Order:
    """The order is placed, and its answer never arrives."""

    def answer(route: Route, body: Json) -> None:
        services.placed(key_of(route), body)
        route.abort("connectionreset")

    return answer


def refuse(status: int, **members: object) -> Order:
    def answer(_: Route, __: Json) -> Answer:
        return problem(status, "refused", **members)  # type: ignore[arg-type]

    return answer


def expect_paid_once(page: Page, services: FakeServices) -> None:
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(services.orders) == 1
    assert len(set(services.order_keys)) == 1
    expect(page.locator(".badge")).to_be_hidden()


def test_a_double_click_pays_once(page: Page, services: FakeServices) -> None:
    fill_card(page, some_card())
    page.locator("button[type=submit]").dblclick()
    expect_paid_once(page, services)
    assert len(services.order_keys) == 1


def test_enter_pressed_again_and_again_pays_once(page: Page, services: FakeServices) -> None:
    fill_card(page, some_card())
    page.get_by_label("CVV").focus()
    for _ in range(4):
        page.keyboard.press("Enter")
    expect_paid_once(page, services)
    assert len(services.order_keys) == 1


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects("ERR_CONNECTION_RESET")
    services.next_orders.append(lose_the_answer(services))
    fill_card(page, some_card())
    pay(page)
    wait_until_sent(page, services, 2)
    expect_paid_once(page, services)
    expect(page.get_by_role("status").filter(has_text="Still waiting for the bank.")).to_be_attached()
    assert len(services.order_keys) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_answer_of_something_in_between_is_no_answer(
    visitor: Visitor, page: Page, services: FakeServices, status: int
) -> None:
    visitor.expects(status)
    services.next_orders.append(refuse(status))
    fill_card(page, some_card())
    pay(page)
    wait_until_sent(page, services, 2)
    expect_paid_once(page, services)


def test_when_no_answer_comes_at_all_the_shopper_can_pay_again_and_is_charged_once(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects("ERR_CONNECTION_RESET")
    services.next_orders.extend([lose_the_answer(services)] * 3)
    fill_card(page, some_card())
    pay(page)
    wait_until_sent(page, services, 3)
    expect(page.get_by_role("alert")).to_contain_text("We don't know yet whether the payment went through.")
    assert len(services.order_keys) == 3
    pay(page)
    expect_paid_once(page, services)


def test_a_reload_while_paying_keeps_the_key(page: Page, services: FakeServices) -> None:
    card = some_card()

    held: list[Route] = []

    def hold(route: Route, body: Json) -> None:
        services.placed(key_of(route), body)
        held.append(route)

    services.next_orders.append(hold)
    fill_card(page, card)
    with page.expect_request("**/api/orders"):
        pay(page)
    expect(page.get_by_role("button", name="Paying…")).to_be_visible()
    page.reload()
    expect(page.get_by_text("An earlier payment got no answer")).to_be_visible()
    expect(page.get_by_label("Card number")).to_have_value("")
    fill_card(page, card)
    pay(page)
    expect_paid_once(page, services)


def test_back_after_paying_leads_to_an_empty_cart(page: Page, services: FakeServices) -> None:
    fill_card(page, some_card())
    pay(page)
    expect_paid_once(page, services)
    page.go_back()
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    page.goto("/checkout")
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    assert len(services.order_keys) == 1


def test_two_tabs_pay_the_same_cart_once(page: Page, services: FakeServices) -> None:
    other = page.context.new_page()
    other.goto("/checkout")
    card = some_card()
    fill_card(other, card)
    fill_card(page, card)
    keys_before = page.evaluate("localStorage['codebank.purchase']")
    assert other.evaluate("localStorage['codebank.purchase']") == keys_before
    pay(page)
    expect_paid_once(page, services)
    expect(other.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_leaving_while_paying_tells_the_outcome_elsewhere(page: Page, services: FakeServices) -> None:
    held: list[tuple[Route, Json]] = []
    services.next_orders.append(lambda route, body: held.append((route, body)))
    fill_card(page, some_card())
    with page.expect_request("**/api/orders"):
        pay(page)
    page.get_by_role("link", name="Codeshop by codebank").click()
    expect(page.locator(".tile-link").first).to_be_visible()
    route, body = held[0]
    status, document, headers = services.placed(key_of(route), body)
    route.fulfill(status=status, json=document, headers=headers)
    page.get_by_role("link", name="See the order").click()
    expect_paid_once(page, services)


def test_another_cart_is_another_purchase_and_the_doubt_is_told(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects("ERR_CONNECTION_RESET")
    services.next_orders.extend([lose_the_answer(services)] * 3)
    fill_card(page, some_card())
    pay(page)
    wait_until_sent(page, services, 3)
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("link", name="Change the cart").click()
    page.get_by_role("button", name="One more: Ceramic mug").click()
    page.get_by_role("link", name="Check out").click()
    expect(page.get_by_text("It was for another cart, and may have gone through.")).to_be_visible()
    fill_card(page, some_card())
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(set(services.order_keys)) == 2


@pytest.mark.parametrize(
    ("code", "words", "field"),
    [
        ("insufficient_funds", "The card's limit is not enough for this amount.", None),
        ("unknown_card", "The bank does not know this card. Check its number.", "Card number"),
        ("incorrect_cvc", "The CVV, or the month and year, are not this card's. Guesses are counted.", "CVV"),
        ("expired_card", "The bank says that this card has expired.", "Valid until"),
        ("card_blocked", "This card is blocked. Use another one, or ask the bank.", None),
        ("card_locked", "After too many wrong CVVs the bank has locked this card for a while.", None),
        ("currency_mismatch", "This card pays in another currency.", None),
        ("lost_or_stolen", "The bank gave the reason “lost_or_stolen”.", None),
    ],
)
def test_a_decline_is_told_in_words_and_the_next_try_is_another_purchase(
    visitor: Visitor, page: Page, services: FakeServices, code: str, words: str, field: str | None
) -> None:
    visitor.expects(402)
    services.next_orders.append(lambda route, body: services.placed(key_of(route), body, "declined", code))
    fill_card(page, some_card())
    pay(page)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The card was declined")
    expect(alert).to_contain_text(words)
    expect(alert).to_contain_text("Nothing was charged.")
    if field is not None:
        expect(problem_of(page, field)).to_contain_text(words)
        expect(page.get_by_label(field)).to_be_focused()
    fill_card(page, some_card())
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(set(services.order_keys)) == 2


def test_what_the_store_finds_wrong_is_said_next_to_its_field(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(422)
    faults = [
        {"pointer": "#/credit_card/number", "code": "invalid_number", "detail": "…"},
        {"pointer": "#/credit_card/expiration_year", "code": "expired", "detail": "…"},
        {"pointer": "#/credit_card/name", "code": "unheard_of", "detail": "the name has a beard"},
        {"pointer": "#/items/0/quantity", "code": "out_of_range", "detail": "…"},
    ]
    services.next_orders.append(refuse(422, errors=faults))
    fill_card(page, some_card())
    pay(page)
    expect(problem_of(page, "Card number")).to_have_text("This number is not right. Check its digits.")
    expect(problem_of(page, "Valid until")).to_have_text("This card has expired.")
    expect(problem_of(page, "Name on card")).to_have_text("This was not accepted: the name has a beard")
    expect(page.get_by_role("alert")).to_contain_text("Ceramic mug: This quantity is not possible.")
    expect(page.get_by_label("Card number")).to_be_focused()
    fill_card(page, some_card())
    pay(page)
    expect_paid_once(page, services)


def test_a_product_that_was_sold_out_meanwhile_is_named(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects(422, 404)
    fault = {"pointer": "#/items/0/product_id", "code": "unknown_product", "detail": "…"}
    services.next_orders.append(refuse(422, errors=[fault]))
    fill_card(page, some_card())
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("Ceramic mug is no longer sold.")
    services.products = []
    page.get_by_role("link", name="Change the cart").click()
    expect(page.get_by_text("Ceramic mug is no longer sold. Remove it to go on.")).to_be_visible()
    expect(page.get_by_role("link", name="Check out")).to_be_hidden()


def test_a_reused_key_is_explained_and_a_new_payment_can_be_started(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(409)
    services.next_orders.append(refuse(409))
    fill_card(page, some_card())
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("This purchase was sent before with other details")
    page.get_by_role("button", name="Start a new payment").click()
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(set(services.order_keys)) == 2


def test_an_order_that_expired_meanwhile_is_told_and_ordered_anew(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(409)
    services.next_orders.append(refuse(409, order={"status": "expired"}))
    fill_card(page, some_card())
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("the order was cancelled. Nothing was charged.")
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(set(services.order_keys)) == 2


def test_too_many_at_once_says_how_long_to_wait_and_keeps_the_key(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(429)
    services.next_orders.append(lambda _, __: problem(429, "busy", retry_after=30))
    fill_card(page, some_card())
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("Try again in 30 seconds.")
    pay(page)
    expect_paid_once(page, services)


def test_a_price_that_changed_is_said_before_paying(page: Page, services: FakeServices) -> None:
    services.product("ceramic-mug")["price_minor"] = 123_456
    page.reload()
    expect(page.get_by_text("The price of Ceramic mug is now R$1,234.56; it was R$59.00.")).to_be_visible()
    expect(page.get_by_role("button", name="Pay R$1,234.56")).to_be_visible()


def test_keys_are_random_uuids_also_where_the_browser_makes_none(
    visitor: Visitor, site: str, services: FakeServices
) -> None:
    """crypto.randomUUID is missing on plain http of any host but localhost."""
    page = visitor.visit(site, "/cart", services=services)
    page.context.add_init_script("delete Crypto.prototype.randomUUID")
    for _ in range(2):
        page.goto("/")
        go_to_checkout(page)
        fill_card(page, some_card())
        pay(page)
        expect(page.locator("[data-status=approved]")).to_be_visible()
    assert [uuid.UUID(key).version for key in services.order_keys] == [4, 4]
    assert len(set(services.order_keys)) == 2


def test_neither_number_nor_cvv_is_kept_anywhere(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects("ERR_CONNECTION_RESET")
    card = some_card(cvv="739")
    services.next_orders.extend([lose_the_answer(services)] * 3)
    fill_card(page, card)
    pay(page)
    wait_until_sent(page, services, 3)
    expect(page.get_by_role("alert")).to_be_visible()
    kept = storage_of(page)
    pay(page)
    expect_paid_once(page, services)
    for text in (kept, storage_of(page), page.content()):
        digits = "".join(character for character in text if character.isdigit())
        assert card["number"] not in digits
        assert '"739"' not in text
