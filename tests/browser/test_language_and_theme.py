"""Language and theme: as the browser has them, or by choice, which is kept and shared."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import FakeServices

pytestmark = pytest.mark.browser


def ground(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


@pytest.mark.parametrize(("language", "heading"), [("en-GB", "Products"), ("pt-PT", "Produtos"), ("fr-FR", "Products")])
def test_the_browsers_language_is_spoken(
    visitor: Visitor, site: str, services: FakeServices, language: str, heading: str
) -> None:
    page = visitor.visit(site, language=language, services=services)
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    assert page.locator("html").get_attribute("lang") == ("pt-BR" if language.startswith("pt") else "en")


def test_a_chosen_language_is_kept_and_shared_with_other_tabs(
    visitor: Visitor, site: str, services: FakeServices
) -> None:
    page = visitor.visit(site, services=services)
    other = page.context.new_page()
    other.goto("/statement/")
    page.get_by_role("combobox", name="Language").select_option("pt-BR")
    expect(page.locator(".tile-price").first).to_have_text("R$\N{NO-BREAK SPACE}49,00")
    expect(page).to_have_title("Codeshop · Coisas boas para a mesa e para o dia")
    expect(other.get_by_role("heading", name="Veja o que seu cartão faz")).to_be_visible()
    expect(other.get_by_role("combobox", name="Idioma")).to_have_value("pt-BR")
    page.reload()
    expect(page.get_by_role("heading", name="Produtos")).to_be_visible()


def test_the_systems_theme_is_followed_until_one_is_chosen(visitor: Visitor, site: str, services: FakeServices) -> None:
    page = visitor.visit(site, services=services)
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    assert light != dark
    page.get_by_text("Light", exact=True).locator("..").click()
    assert ground(page) == light
    page.reload()
    # The choice stands before the first paint: the script that makes it stand is not deferred.
    assert ground(page) == light
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.get_by_text("As the system", exact=True).locator("..").click()
    assert ground(page) == dark


def test_a_chosen_theme_is_shared_with_other_tabs(visitor: Visitor, site: str, services: FakeServices) -> None:
    page = visitor.visit(site, services=services)
    other = page.context.new_page()
    other.goto("/statement/")
    page.get_by_role("radio", name="Dark").check(force=True)
    expect(other.locator("html")).to_have_attribute("data-theme", "dark")
    expect(other.get_by_role("radio", name="Dark")).to_be_checked()
