"""What the pages know of cards, money and days by themselves agrees with the domain, and with how people type."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from functions.domain.card import Brand, CardNumber, brand_of, luhn_check_digit
from tests.browser.fake_services import card_number

pytestmark = pytest.mark.browser

PREFIXES = ("4", "4011780", "51", "55", "2221", "2720", "34", "37", "5067123", "6550123", "6362970", "9", "36", "30")


@pytest.fixture(scope="module")
def pages(browser: Browser, site: str) -> Iterator[dict[str, Page]]:
    """A page in each language, whose modules are called."""
    contexts = {language: browser.new_context(locale=language) for language in ("en-US", "pt-BR")}
    pages = {language: context.new_page() for language, context in contexts.items()}
    for page in pages.values():
        page.goto(f"{site}/checkout")
    yield pages
    for context in contexts.values():
        context.close()


@pytest.fixture
def page(pages: dict[str, Page]) -> Page:
    return pages["en-US"]


def call(page: Page, module: str, function: str, *arguments: Any) -> Any:
    """Calls a function of a shared module in the page."""
    return page.evaluate(
        """async ([module, name, given]) => {
          const root = document.querySelector("script[type=module]").src.replace(/store\\/app\\.js$/, "");
          return (await import(`${root}shared/${module}.js`))[name](...given);
        }""",
        [module, function, list(arguments)],
    )


def test_numbers_are_judged_as_the_domain_judges_them(page: Page) -> None:
    numbers = [card_number(prefix, digits) for prefix in PREFIXES for digits in range(13, 20)]
    wrong = [number[:-1] + str((int(number[-1]) + secrets.randbelow(9) + 1) % 10) for number in numbers]
    for number in numbers + wrong:
        try:
            CardNumber(number)
            right = True
        except ValueError:
            right = False
        assert (call(page, "card", "numberMistake", number) is None) is right, number[:6]
        assert call(page, "card", "brandOf", number) == brand_of(number).value
    assert {brand_of(number) for number in numbers} == set(Brand)


def test_luhn_holds_for_any_length(page: Page) -> None:
    for body in ("", "7", "79927398", "7992739871", "0" * 15):
        assert call(page, "card", "passesLuhn", body + luhn_check_digit(body))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "required"),
        (" - ", "required"),
        ("4111 1111 1111 111x", "digits_only"),
        ("٤١١١١١١١١١١١١١١١", "digits_only"),
        ("411111111111", "number_length"),
        ("4" * 20, "number_length"),
        ("4111 1111 1111 1112", "invalid_number"),
    ],
)
def test_what_is_wrong_with_a_number_is_named(page: Page, text: str, mistake: str) -> None:
    assert call(page, "card", "numberMistake", text) == mistake


@pytest.mark.parametrize(
    ("digits", "grouped"),
    [
        ("378282246310005", "3782 822463 10005"),
        ("4222222222222", "4222 2222 2222 2"),
        ("4111111111111111", "4111 1111 1111 1111"),
        ("6304000000000000000", "6304 0000 0000 0000 000"),
        ("41", "41"),
        ("", ""),
        ("1" * 22, "1111 1111 1111 1111 111 111"),
    ],
)
def test_numbers_are_grouped_as_they_are_embossed(page: Page, digits: str, grouped: str) -> None:
    assert call(page, "card", "grouped", digits) == grouped


@pytest.mark.parametrize("separated", ["4111-1111-1111-1111", "4111 1111 1111 1111", "4111.1111.1111.1111"])
def test_separators_are_nothing(page: Page, separated: str) -> None:
    assert call(page, "card", "withoutSeparators", separated) == "4111111111111111"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("1", "1"),
        ("12", "12/"),
        ("5", "05/"),
        ("1/", "01/"),
        ("1229", "12/29"),
        ("12/2", "12/2"),
        ("12/20", "12/20"),
        ("12/202", "12/202"),
        ("12/2029", "12/29"),
        ("12 - 29", "12/29"),
        ("12/299", "12/29"),
        ("soon", "soon"),
    ],
)
def test_an_expiry_is_written_as_on_the_card(page: Page, typed: str, shown: str) -> None:
    assert call(page, "card", "formattedExpiry", typed, False) == shown


def test_a_slash_can_be_deleted(page: Page) -> None:
    assert call(page, "card", "formattedExpiry", "12", True) == "12"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "required"),
        ("1", "expiry_form"),
        ("12/", "expiry_form"),
        ("soon", "expiry_form"),
        ("13/39", "expiry_month"),
        ("00/39", "expiry_month"),
        ("01/20", "expired"),
        ("12/39", None),
        ("12/2039", None),
        ("1239", None),
    ],
)
def test_what_is_wrong_with_an_expiry_is_named(page: Page, text: str, mistake: str | None) -> None:
    assert call(page, "card", "expiryMistake", text) == mistake


def test_a_card_is_good_to_the_end_of_its_month(page: Page) -> None:
    judge = """async ([text, now]) => {
      const root = document.querySelector("script[type=module]").src.replace(/store\\/app\\.js$/, "");
      return (await import(`${root}shared/card.js`)).expiryMistake(text, new Date(now));
    }"""
    assert page.evaluate(judge, ["02/28", "2028-02-29T23:59:59Z"]) is None
    assert page.evaluate(judge, ["02/28", "2028-03-01T00:00:00Z"]) == "expired"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "english", "portuguese"),
    [
        (4900, "BRL", "R$49.00", "R$\N{NO-BREAK SPACE}49,00"),
        (5, "BRL", "R$0.05", "R$\N{NO-BREAK SPACE}0,05"),
        (-123456, "USD", "-$1,234.56", "-US$\N{NO-BREAK SPACE}1.234,56"),
        (1500, "JPY", "¥1,500", "JP¥\N{NO-BREAK SPACE}1.500"),
        (1234, "KWD", "KWD\N{NO-BREAK SPACE}1.234", "KWD\N{NO-BREAK SPACE}1,234"),
        (9_007_199_254_740_991, "BRL", "R$90,071,992,547,409.91", "R$\N{NO-BREAK SPACE}90.071.992.547.409,91"),
    ],
)
def test_money_is_exact_and_as_the_language_writes_it(
    pages: dict[str, Page], amount_minor: int, currency: str, english: str, portuguese: str
) -> None:
    assert call(pages["en-US"], "i18n", "money", amount_minor, currency) == english
    assert call(pages["pt-BR"], "i18n", "money", amount_minor, currency) == portuguese


@pytest.mark.parametrize(
    ("languages", "spoken"),
    [(["pt-PT", "en"], "pt-BR"), (["de", "pt"], "pt-BR"), (["en-GB"], "en"), (["fr"], "en"), ([], "en")],
)
def test_the_first_language_that_is_spoken_here_is_taken(page: Page, languages: list[str], spoken: str) -> None:
    assert call(page, "i18n", "spoken", languages) == spoken


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("", None), ("soon", None)])
def test_retry_after_is_read(page: Page, header: str, seconds: int | None) -> None:
    assert call(page, "http", "retryAfterSeconds", header) == seconds
    moment = 1_800_000_000_000
    assert call(page, "http", "retryAfterSeconds", "Fri, 15 Jan 2027 08:00:30 GMT", moment) == 30
