"""What a person does with the pages, in either language."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

Json = dict[str, Any]

WORDS = {
    "en-US": {"number": "Card number", "name": "Name on card", "expiry": "Valid until", "add": "Add {} to the cart"},
    "pt-BR": {
        "number": "Número do cartão",
        "name": "Nome no cartão",
        "expiry": "Validade",
        "add": "Adicionar {} ao carrinho",
    },
}


def fill_card(page: Page, card: Json, *, named: bool = True, language: str = "en-US") -> None:
    """Types a card into the form."""
    words = WORDS[language]
    page.get_by_label(words["number"]).fill(card["number"])
    if named:
        page.get_by_label(words["name"]).fill(card["name"])
    page.get_by_label(words["expiry"]).fill(f"{card['expiration_month']:02}/{card['expiration_year'] % 100:02}")
    page.get_by_label("CVV").fill(card["cvv"])


def go_to_checkout(page: Page, *, product: str = "Ceramic mug", language: str = "en-US") -> None:
    """Puts a product into the cart on the front page, and goes on to pay it."""
    page.get_by_role("button", name=WORDS[language]["add"].format(product)).click()
    page.locator("header a[href='/cart']").click()
    page.locator("a[href='/checkout']").click()
    expect(page.locator(".summary-lines li")).to_have_count(1)


def pay(page: Page) -> None:
    """Presses the button that pays."""
    page.locator("button[type=submit]").click()


def sign_in(page: Page, card: Json, *, language: str = "en-US") -> None:
    """Signs in at the statement, and waits for it."""
    fill_card(page, card, named=False, language=language)
    page.locator("button[type=submit]").click()
    expect(page.locator(".statement")).to_be_visible()


def problem_of(page: Page, label: str) -> Locator:
    """What is said to be wrong with the field of a label: found as a screen reader finds it, by aria-describedby."""
    field = page.get_by_label(label)
    described_by = field.get_attribute("aria-describedby")
    assert described_by is not None
    return page.locator(f"#{described_by.split()[0]}")


def has_no_sideways_scroll(page: Page) -> bool:
    """Whether the page is as wide as the window."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return not wide
