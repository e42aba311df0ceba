"""The card form, typed into as people do: pasted, corrected in the middle, left half done."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import FakeServices, card_number, some_card
from tests.browser.hands import fill_card, go_to_checkout, pay, problem_of

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visitor: Visitor, site: str, services: FakeServices) -> Page:
    page = visitor.visit(site, services=services)
    go_to_checkout(page)
    return page


def test_browsers_and_phones_are_told_what_each_field_is(page: Page) -> None:
    kinds = {
        "Card number": ("cc-number", "numeric"),
        "Name on card": ("cc-name", None),
        "Valid until": ("cc-exp", "numeric"),
        "CVV": ("cc-csc", "numeric"),
    }
    for label, (autocomplete, inputmode) in kinds.items():
        field = page.get_by_label(label)
        assert field.get_attribute("autocomplete") == autocomplete
        assert field.get_attribute("inputmode") == inputmode


@pytest.mark.parametrize("separator", [" ", "-", "", "  "])
def test_a_pasted_number_is_grouped_and_its_brand_shown(page: Page, separator: str) -> None:
    number = card_number("5204")
    field = page.get_by_label("Card number")
    field.focus()
    page.evaluate(
        "text => document.execCommand('insertText', false, text)",
        separator.join(number[start : start + 4] for start in range(0, 16, 4)),
    )
    expect(field).to_have_value(" ".join(number[start : start + 4] for start in range(0, 16, 4)))
    expect(page.locator(".field-sign")).to_have_text("Mastercard")


def test_the_caret_stays_where_one_types(page: Page) -> None:
    field = page.get_by_label("Card number")
    field.press_sequentially("41111111")
    expect(field).to_have_value("4111 1111")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.keyboard.type("22")
    expect(field).to_have_value("4112 2111 11")
    page.keyboard.type("3")
    expect(field).to_have_value("4112 2311 111")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    expect(field).to_have_value("4112 1111 1")


@pytest.mark.parametrize("digits", [13, 16, 19])
def test_short_and_long_numbers_are_paid_with(page: Page, services: FakeServices, digits: int) -> None:
    fill_card(page, some_card("4539", digits))
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert len(services.order_requests[0]["credit_card"]["number"]) == digits


def test_american_express_has_four_digits_on_its_front(page: Page, services: FakeServices) -> None:
    fill_card(page, some_card("37", 15, cvv="123"))
    expect(page.get_by_text("4 digits on the front")).to_be_visible()
    pay(page)
    expect(problem_of(page, "CVV")).to_have_text("The CVV has 4 digits.")
    page.get_by_label("CVV").fill("0123")
    expect(problem_of(page, "CVV")).to_have_text("")
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()
    assert services.order_requests[0]["credit_card"]["cvv"] == "0123"


def test_every_mistake_is_said_next_to_its_field_and_the_first_is_focused(page: Page) -> None:
    page.get_by_label("Card number").fill("4111 1111 1111 111O")
    page.get_by_label("Valid until").fill("01/20")
    page.get_by_label("CVV").fill("12")
    pay(page)
    expect(problem_of(page, "Card number")).to_have_text("Use digits only.")
    expect(problem_of(page, "Name on card")).to_have_text("This is needed.")
    expect(problem_of(page, "Valid until")).to_have_text("This card has expired.")
    expect(problem_of(page, "CVV")).to_have_text("The CVV has 3 digits.")
    expect(page.get_by_label("Card number")).to_be_focused()
    for label in ("Card number", "Name on card", "Valid until", "CVV"):
        expect(page.get_by_label(label)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Name on card").fill("Ana")
    expect(problem_of(page, "Name on card")).to_have_text("")
    expect(page.get_by_label("Name on card")).not_to_have_attribute("aria-invalid", "true")


def test_a_click_right_after_a_mistake_still_counts(page: Page) -> None:
    """What is said on leaving a field must not push away the button that is being pressed."""
    page.get_by_label("Valid until").press_sequentially("1320")
    page.locator("button[type=submit]").scroll_into_view_if_needed()
    button = page.locator("button[type=submit]").bounding_box()
    assert button is not None
    page.mouse.move(button["x"] + 20, button["y"] + button["height"] - 4)
    page.mouse.down()
    expect(problem_of(page, "Valid until")).to_have_text("")
    page.mouse.up()
    expect(problem_of(page, "Valid until")).to_have_text("A month is 01 to 12.")
    expect(problem_of(page, "CVV")).to_have_text("This is needed.")


def test_a_mistake_is_said_on_leaving_but_not_while_typing(page: Page) -> None:
    page.get_by_label("Card number").press_sequentially("411")
    expect(problem_of(page, "Card number")).to_have_text("")
    page.keyboard.press("Tab")
    expect(problem_of(page, "Card number")).to_have_text("A card number has 13 to 19 digits.")
    page.keyboard.press("Tab")
    expect(problem_of(page, "Name on card")).to_have_text("")


def test_mistakes_follow_the_language_without_losing_what_was_typed(page: Page) -> None:
    page.get_by_label("Card number").fill("4111")
    pay(page)
    page.get_by_role("combobox", name="Language").select_option("pt-BR")
    expect(page.get_by_label("Número do cartão")).to_have_value("4111")
    expect(problem_of(page, "Número do cartão")).to_have_text("O número do cartão tem de 13 a 19 dígitos.")
    expect(problem_of(page, "Nome no cartão")).to_have_text("Preencha este campo.")
    expect(page).to_have_title("Finalizar compra · Codeshop")
