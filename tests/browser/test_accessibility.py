"""Every page in every state that a person meets: axe-core finds nothing, in either theme; a phone's width is enough."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import FakeServices, Json, problem, some_card
from tests.browser.hands import fill_card, go_to_checkout, has_no_sideways_scroll, pay, sign_in

pytestmark = pytest.mark.browser

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()

State = Callable[[Page, FakeServices], None]


def violations(page: Page) -> list[str]:
    """What axe-core has to say, also of its best practices: the rule, where, and why."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations)"
    )
    return [
        f"{violation['id']}: {node['target']}: {node['failureSummary']}"
        for violation in found
        for node in violation["nodes"]
    ]


def front(page: Page, _: FakeServices) -> None:
    page.goto("/")
    page.locator(".tile-add").first.click()
    expect(page.locator(".toast")).to_be_visible()


def nothing_found(page: Page, _: FakeServices) -> None:
    page.goto("/?q=zebra")
    expect(page.locator(".empty")).to_be_visible()


def product(page: Page, _: FakeServices) -> None:
    page.goto("/products/chess-set")
    expect(page.locator(".product-price")).to_be_visible()


def cart(page: Page, services: FakeServices) -> None:
    page.goto("/")
    page.locator(".tile-add").first.click()
    page.locator(".tile-add").nth(1).click()
    services.products[0]["price_minor"] += 100
    page.goto("/cart")
    expect(page.locator(".notice")).to_be_visible()


def empty_cart(page: Page, _: FakeServices) -> None:
    page.goto("/cart")
    expect(page.locator(".empty")).to_be_visible()


def checkout(page: Page, _: FakeServices) -> None:
    page.goto("/")
    go_to_checkout(page)
    fill_card(page, some_card("37", 15, cvv="1234"))


def mistakes(page: Page, services: FakeServices) -> None:
    checkout(page, services)
    page.get_by_label("Card number").fill("1")
    page.get_by_label("CVV").fill("")
    pay(page)


def declined(page: Page, services: FakeServices) -> None:
    checkout(page, services)
    services.next_orders.append(
        lambda route, body: services.placed(route.request.headers["idempotency-key"], body, "declined", "incorrect_cvc")
    )
    pay(page)
    expect(page.get_by_role("alert")).to_be_visible()


def conflict(page: Page, services: FakeServices) -> None:
    checkout(page, services)
    services.next_orders.append(lambda _, __: problem(409, "reused"))
    pay(page)
    expect(page.get_by_role("alert")).to_be_visible()


def order(status: str) -> State:
    def show(page: Page, services: FakeServices) -> None:
        item = {"product_id": services.products[0]["id"], "quantity": 2}
        body: Json = {"credit_card": {"number": some_card()["number"]}, "items": [item]}
        services.placed("key", body, status, "insufficient_funds")
        page.goto(f"/orders/{services.orders['key']['id']}")
        expect(page.locator(f"[data-status={status}]")).to_be_visible()

    return show


def not_found(page: Page, _: FakeServices) -> None:
    page.goto("/nothing")
    expect(page.locator(".empty")).to_be_visible()


def entrance(page: Page, services: FakeServices) -> None:
    services.next_sign_ins.append(problem(401, "no"))
    page.goto("/statement/")
    fill_card(page, some_card(), named=False)
    pay(page)
    expect(page.get_by_role("alert")).to_be_visible()


def statement(page: Page, services: FakeServices) -> None:
    payment = services.add_entry(129_90, days_ago=1, store="Padaria Sol", description="Pão na chapa, café")
    services.add_entry(538_00, order_id="8b9cfa4e-7a0b-4c36-9a7a-2f6f3f5a7d10", description="Chess set, Ceramic mug")
    services.add_entry(29_90, kind="refund", refund_of=payment["transaction_id"], store="Padaria Sol")
    page.goto("/statement/")
    sign_in(page, some_card())
    services.add_entry(68_900, store="Livraria da Travessa", description="Livro: Grande Sertão: Veredas")
    page.clock.run_for(7_000)
    expect(page.locator(".entry-fresh")).to_have_count(1)
    services.unreachable = True
    page.clock.run_for(7_000)
    expect(page.locator(".notice-offline")).to_be_visible()


def empty_statement(page: Page, _: FakeServices) -> None:
    page.goto("/statement/")
    sign_in(page, some_card())
    expect(page.locator(".empty")).to_be_visible()


STATES: dict[str, State] = {
    "front": front,
    "nothing-found": nothing_found,
    "product": product,
    "cart": cart,
    "empty-cart": empty_cart,
    "checkout": checkout,
    "mistakes": mistakes,
    "declined": declined,
    "conflict": conflict,
    "pending": order("pending"),
    "approved": order("approved"),
    "declined-order": order("declined"),
    "not-found": not_found,
    "entrance": entrance,
    "statement": statement,
    "empty-statement": empty_statement,
}


@pytest.mark.parametrize("state", list(STATES))
def test_axe_finds_nothing_in_either_theme_and_a_phone_is_wide_enough(
    visitor: Visitor, site: str, services: FakeServices, state: str
) -> None:
    visitor.expects(401, 402, 404, 409, "ERR_CONNECTION_REFUSED")
    page = visitor.visit(site, "/checkout", services=services, clock=True)
    STATES[state](page, services)
    visitor.shoot(page, f"{state}-light")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    visitor.shoot(page, f"{state}-dark-phone")
    assert has_no_sideways_scroll(page)
    assert violations(page) == []


def test_the_page_can_be_skipped_to_its_content(visitor: Visitor, site: str, services: FakeServices) -> None:
    page = visitor.visit(site, services=services)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    assert page.url.endswith("/")


def test_text_can_be_twice_as_large(visitor: Visitor, site: str, services: FakeServices) -> None:
    page = visitor.visit(site, services=services)
    go_to_checkout(page)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert has_no_sideways_scroll(page)
    page.goto("/")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert has_no_sideways_scroll(page)
