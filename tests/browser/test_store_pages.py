"""The store's pages around the payment: front, search, product, cart, order."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import FakeServices, some_card
from tests.browser.hands import fill_card, go_to_checkout, pay

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visitor: Visitor, site: str, services: FakeServices) -> Page:
    return visitor.visit(site, services=services)


def test_a_search_is_in_the_address_and_announced(page: Page) -> None:
    page.get_by_label("Search products").press_sequentially("mug")
    expect(page.locator(".tile-link")).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text="1 product")).to_be_attached()
    assert page.url.endswith("/?q=mug")
    page.reload()
    expect(page.get_by_label("Search products")).to_have_value("mug")
    expect(page.locator(".tile-link")).to_have_count(1)


def test_a_search_without_a_result_leads_back(page: Page) -> None:
    page.get_by_label("Search products").fill("<b>zebra</b>")
    expect(page.get_by_text("No product matches “<b>zebra</b>”.")).to_be_visible()
    page.get_by_role("link", name="Show all products").click()
    expect(page.locator(".tile-link")).to_have_count(3)


def test_more_products_come_when_asked_for(visitor: Visitor, site: str, services: FakeServices) -> None:
    services.page_products = 2
    page = visitor.visit(site, services=services)
    expect(page.locator(".tile-link")).to_have_count(2)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".tile-link")).to_have_count(3)
    expect(page.locator(".tile-link").nth(2)).to_be_focused()
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_without_the_catalog_the_page_says_so_and_tries_again(
    visitor: Visitor, site: str, services: FakeServices
) -> None:
    visitor.expects("ERR_CONNECTION_REFUSED")
    services.unreachable = True
    page = visitor.visit(site, services=services)
    expect(page.get_by_role("alert")).to_contain_text("The products can't be shown")
    services.unreachable = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".tile-link")).to_have_count(3)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_coming_back_finds_the_place_again(visitor: Visitor, site: str, services: FakeServices) -> None:
    services.products = [
        {**services.products[0], "id": f"id-{position}", "slug": f"thing-{position}", "name": f"Thing {position}"}
        for position in range(24)
    ]
    page = visitor.visit(site, services=services)
    page.get_by_role("link", name="Thing 20").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 0
    page.get_by_role("link", name="Thing 20").click()
    expect(page.get_by_role("heading", name="Thing 20")).to_be_visible()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.get_by_role("link", name="Thing 20")).to_be_in_viewport()
    assert page.evaluate("scrollY") == before
    page.go_forward()
    expect(page.get_by_role("heading", name="Thing 20")).to_be_visible()


def test_a_product_is_added_in_the_quantity_that_was_chosen(page: Page) -> None:
    page.get_by_role("link", name="Chess set").click()
    expect(page).to_have_title("Chess set · Codeshop")
    page.get_by_role("button", name="One more: Chess set").click()
    page.get_by_label("Quantity of Chess set").last.press("ArrowUp")
    page.get_by_role("button", name="Add to cart").click()
    expect(page.get_by_role("status").filter(has_text="In your cart: Chess set")).to_be_visible()
    expect(page.get_by_role("link", name="Cart, 3 items")).to_be_visible()


def test_what_a_product_is_called_is_text(visitor: Visitor, site: str, services: FakeServices) -> None:
    name = '<img src=x onerror="alert(1)">{count}'
    services.products[0] |= {"name": name, "description": "<script>alert(1)</script>"}
    page = visitor.visit(site, services=services)
    page.get_by_role("button", name=f"Add {name} to the cart").click()
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    page.goto("/cart")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    assert page.locator("main img[src=x], main script").count() == 0


def test_a_picture_that_is_not_there_leaves_a_plain_tile(visitor: Visitor, site: str, services: FakeServices) -> None:
    visitor.expects(404)
    services.products[0]["image_url"] = "/images/nothing.svg"
    page = visitor.visit(site, services=services)
    expect(page.locator(".tile").first.locator("img")).to_have_count(0)
    expect(page.locator(".tile").first).to_be_visible()


@pytest.mark.parametrize(
    ("typed", "kept"), [("0", "1"), ("-5", "2"), ("10000", "99"), ("abc", "2"), ("7", "7"), ("", "2")]
)
def test_a_quantity_is_one_to_ninety_nine(page: Page, typed: str, kept: str) -> None:
    for _ in range(2):
        page.get_by_role("button", name="Add Ceramic mug to the cart").click()
    page.get_by_role("link", name="Cart, 2 items").click()
    field = page.locator(".quantity-input")
    field.evaluate("input => input.removeAttribute('maxlength')")
    field.fill(typed)
    field.press("Tab")
    expect(field).to_have_value(kept)
    expect(page.locator(".line-total")).to_have_text(f"R${int(kept) * 59:,}.00")
    expect(page.locator("output")).to_have_text(f"R${int(kept) * 59:,}.00")


def test_the_cart_is_kept_and_shared_by_tabs(page: Page) -> None:
    page.get_by_role("button", name="Add Ceramic mug to the cart").click()
    other = page.context.new_page()
    other.goto("/cart")
    expect(other.locator(".line")).to_have_count(1)
    page.get_by_role("button", name="Add Chess set to the cart").click()
    expect(other.locator(".line")).to_have_count(2)
    other.get_by_role("button", name="Remove Ceramic mug from the cart").click()
    expect(page.get_by_role("link", name="Cart, 1 item")).to_be_visible()
    other.get_by_role("button", name="Remove Chess set from the cart").click()
    expect(other.get_by_role("heading", name="Your cart is empty")).to_be_visible()


@pytest.mark.parametrize("kept", ["null", "{}", "[1, null]", '[{"product_id": 5}]', "not json", '"x"'])
def test_a_broken_cart_is_an_empty_one(page: Page, kept: str) -> None:
    page.evaluate("text => localStorage.setItem('codebank.cart', text)", kept)
    page.goto("/cart")
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_the_pages_work_where_storage_is_refused(visitor: Visitor, site: str, services: FakeServices) -> None:
    page = visitor.visit(site, services=services)
    page.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    page.reload()
    go_to_checkout(page)
    fill_card(page, some_card())
    pay(page)
    expect(page.locator("[data-status=approved]")).to_be_visible()


def test_a_pending_order_is_followed_until_it_is_settled(page: Page, services: FakeServices) -> None:
    services.next_orders.append(
        lambda route, body: services.placed(route.request.headers["idempotency-key"], body, "pending")
    )
    go_to_checkout(page)
    fill_card(page, some_card())
    pay(page)
    expect(page.get_by_role("heading", name="Your payment is being decided")).to_be_visible()
    expect(page.locator(".badge")).to_be_hidden()
    services.settle_all("approved")
    expect(page.get_by_role("heading", name="Thank you, it's yours")).to_be_visible()
    expect(page).to_have_title("Thank you, it's yours · Codeshop")
    expect(page.get_by_role("status").filter(has_text="The payment of R$59.00 was approved.")).to_be_attached()


def test_an_order_that_expired_can_be_tried_again(page: Page, services: FakeServices) -> None:
    services.next_orders.append(
        lambda route, body: services.placed(route.request.headers["idempotency-key"], body, "pending")
    )
    go_to_checkout(page)
    fill_card(page, some_card())
    pay(page)
    services.settle_all("expired")
    expect(page.get_by_role("heading", name="The order has expired")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Pay R$59.00")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "refunded_minor", "words"),
    [
        ("approved", 0, "The payment of R$59.00 was approved."),
        ("approved", 1900, "Of it, R$19.00 went back to your card."),
        ("refunded", 5900, "R$59.00 went back to your card."),
        ("declined", 0, "The card's limit is not enough for this amount. Nothing was charged."),
    ],
)
def test_an_order_is_shown_to_whoever_has_its_link(
    page: Page, services: FakeServices, status: str, refunded_minor: int, words: str
) -> None:
    product = services.product("ceramic-mug")
    body = {
        "credit_card": {"number": some_card()["number"]},
        "items": [{"product_id": product["id"], "quantity": 1}],
    }
    services.placed("key", body, status, "insufficient_funds")
    services.orders["key"]["refunded_minor"] = refunded_minor
    page.goto(f"/orders/{services.orders['key']['id']}")
    expect(page.locator(f"[data-status={status}] .lead")).to_contain_text(words)
    expect(page.locator(".receipt")).to_contain_text(services.orders["key"]["id"])


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/orders/nothing", "There is no such order"),
        ("/products/nothing", "This product is not here"),
        ("/nothing/at/all", "There is nothing here"),
    ],
)
def test_what_is_not_there_is_said_plainly(visitor: Visitor, page: Page, path: str, heading: str) -> None:
    visitor.expects(404)
    page.goto(path)
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.get_by_role("link", name="Look at the products").click()
    expect(page.locator(".tile-link")).to_have_count(3)


def test_focus_goes_to_the_heading_of_a_new_page(page: Page) -> None:
    page.get_by_role("link", name="Chess set").click()
    expect(page.locator("h1")).to_be_focused()
    page.locator("header a[href='/cart']").click()
    expect(page.get_by_role("heading", name="Cart", exact=True)).to_be_focused()


def test_a_new_window_is_the_browsers_business(visitor: Visitor, page: Page) -> None:
    visitor.expects(404)  # The new window asks before its requests can be answered here.
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Chess set").click(modifiers=["ControlOrMeta"])
    opened.value.wait_for_url("**/products/chess-set")
    expect(page.locator(".tile-link")).to_have_count(3)
