"""The statement while it is looked at: new entries arrive by themselves, and nothing else moves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.fake_services import FakeServices, problem, some_card
from tests.browser.hands import fill_card, problem_of, sign_in

pytestmark = pytest.mark.browser

STEP_MS = 1_000
POLL_STEPS_MAX = 150
"""Longer than the longest time between two polls with its jitter."""


@pytest.fixture
def page(visitor: Visitor, site: str, services: FakeServices) -> Page:
    """The sign-in form. Time stands still."""
    return visitor.visit(site, "/statement/", services=services, clock=True)


def poll(page: Page, services: FakeServices) -> int:
    """Lets time pass until the page has asked once more, and answers how many seconds of it."""
    before = services.statement_requests
    for step in range(1, POLL_STEPS_MAX + 1):
        page.clock.run_for(STEP_MS)
        page.evaluate("0")  # What the page has sent meanwhile is answered now.
        if services.statement_requests > before:
            return step * STEP_MS // 1000
    raise AssertionError(f"the page has not asked for {POLL_STEPS_MAX} s")


def first_amount(page: Page) -> str:
    return page.locator(".entry-amount").first.inner_text().replace("\N{NO-BREAK SPACE}", " ")


def test_the_newest_entry_is_on_top_by_day_and_the_month_is_summed(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00, days_ago=40)
    services.add_entry(20_00, store="Padaria Sol")
    services.add_entry(30_00)
    sign_in(page, some_card())
    assert page.locator(".entry-amount").all_inner_texts() == ["R$30.00", "R$20.00", "R$10.00"]
    assert page.locator(".day h3").first.inner_text() == "Today"
    expect(page.locator(".month-amount")).to_have_text("R$50.00")
    expect(page.locator(".month")).to_contain_text("2 purchases")


def test_a_new_entry_appears_by_itself_and_is_announced(page: Page, services: FakeServices) -> None:
    sign_in(page, some_card())
    expect(page.get_by_text("Nothing in the last 90 days")).to_be_visible()
    page.evaluate("document.documentElement.dataset.same = 'page'")
    poll(page, services)
    services.add_entry(49_00, store="Padaria Sol")
    poll(page, services)
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.get_by_role("status").filter(has_text="New on your statement")).to_have_text(
        "New on your statement: R$49.00 at Padaria Sol."
    )
    expect(page.get_by_text("Nothing in the last 90 days")).to_be_hidden()
    services.add_entry(1_00)
    services.add_entry(2_00)
    poll(page, services)
    expect(page.get_by_text("2 new entries on your statement.")).to_be_attached()
    assert first_amount(page) == "R$2.00"
    assert page.evaluate("document.documentElement.dataset.same") == "page"


def test_what_the_reader_looks_at_stays_where_it_is(page: Page, services: FakeServices) -> None:
    for position in range(60):
        services.add_entry(1000 + position, days_ago=60 - position)
    sign_in(page, some_card())
    watched = page.locator(".entry").nth(20)
    watched.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 137)")
    before = watched.bounding_box()
    services.add_entry(77_00)
    services.add_entry(88_00)
    poll(page, services)
    expect(page.locator(".entry")).to_have_count(62)
    after = page.locator(".entry").nth(22).bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 1
    page.get_by_role("button", name="2 new entries").click()
    expect(page.locator(".entry").first).to_be_in_viewport()
    expect(page.locator(".pill")).to_be_hidden()


def test_at_the_top_a_new_entry_is_seen_at_once(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00)
    sign_in(page, some_card())
    services.add_entry(20_00)
    poll(page, services)
    expect(page.locator(".entry").first).to_contain_text("R$20.00")
    expect(page.locator(".entry").first).to_be_in_viewport()
    expect(page.locator(".pill")).to_be_hidden()


def test_being_offline_is_said_with_since_when_and_ends_by_itself(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects("ERR_CONNECTION_REFUSED")
    services.add_entry(10_00)
    sign_in(page, some_card())
    since = page.locator(".state").inner_text().removeprefix("Up to date at ")
    services.unreachable = True
    poll(page, services)
    banner = page.get_by_role("status").filter(has_text="The bank can't be reached since")
    expect(banner).to_contain_text(since)
    for _ in range(3):
        poll(page, services)
    expect(banner).to_contain_text(since)
    expect(page.locator(".entry")).to_have_count(1)
    services.unreachable = False
    services.add_entry(20_00)
    poll(page, services)
    expect(banner).to_be_hidden()
    expect(page.locator(".entry")).to_have_count(2)


def test_a_network_that_goes_and_comes_back_is_noticed_at_once(page: Page, services: FakeServices) -> None:
    sign_in(page, some_card())
    page.context.set_offline(True)
    expect(page.get_by_text("Offline since")).to_be_visible()
    services.add_entry(20_00)
    page.context.set_offline(False)
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.get_by_text("Offline since")).to_be_hidden()


def test_polls_grow_rarer_while_they_fail(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects(503)
    sign_in(page, some_card())
    assert poll(page, services) <= 8
    services.statement_trouble = problem(503, "down")
    waits = [poll(page, services) for _ in range(6)]
    # 5 s, doubled each time, up to a minute, each with its jitter.
    assert waits[1] < waits[3] < waits[5]
    assert 40 <= waits[5] <= 80
    services.statement_trouble = problem(503, "down", retry_after=85)
    poll(page, services)
    assert poll(page, services) >= 84


def test_a_hidden_page_asks_rarely_and_at_once_when_it_is_shown(page: Page, services: FakeServices) -> None:
    sign_in(page, some_card())
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    before = services.statement_requests
    page.clock.run_for(45_000)
    assert services.statement_requests == before
    services.add_entry(20_00)
    page.evaluate(hide, False)
    expect(page.locator(".entry")).to_have_count(1)


def test_an_expired_session_leads_to_the_form_and_back_to_the_same_place(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(401)
    for position in range(40):
        services.add_entry(1000 + position, days_ago=50 - position)
    card = some_card()
    sign_in(page, card)
    page.locator(".entry").nth(15).scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    services.card = None
    poll(page, services)
    expect(page.locator(".notice-title")).to_have_text("Your session has ended")
    expect(page.locator(".notice")).to_contain_text(f"with the card ending in {card['number'][-4:]}")
    expect(page.locator(".entry").first).to_be_hidden()
    expect(page.get_by_label("Card number")).to_have_value("")
    services.add_entry(99_00)
    sign_in(page, card)
    assert page.evaluate("scrollY") == before
    poll(page, services)
    expect(page.locator(".entry")).to_have_count(41)


def test_another_card_sees_its_own_statement_only(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects(401)
    services.add_entry(10_00)
    sign_in(page, some_card())
    services.card = None
    poll(page, services)
    expect(page.locator(".notice-title")).to_have_text("Your session has ended")
    services.entries = []
    sign_in(page, some_card("37", 15, cvv="1234"))
    expect(page.locator(".entry")).to_have_count(0)
    assert "R$10.00" not in page.content()


def test_signing_out_forgets_what_was_shown(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00)
    sign_in(page, some_card())
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You have signed out.").first).to_be_visible()
    assert services.card is None
    assert "R$10.00" not in page.content()
    page.reload()
    expect(page.get_by_role("heading", name="See what your card does")).to_be_visible()


def test_without_the_bank_one_stays_signed_in_and_is_told(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects("ERR_CONNECTION_REFUSED")
    sign_in(page, some_card())
    services.unreachable = True
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_have_text("You are still signed in: the bank could not be reached.")


def test_a_reload_goes_on_without_signing_in_again(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00)
    sign_in(page, some_card())
    page.reload()
    expect(page.locator(".entry")).to_have_count(1)


def test_a_session_that_ended_unnoticed_asks_to_sign_in(visitor: Visitor, page: Page, services: FakeServices) -> None:
    visitor.expects(401)
    sign_in(page, some_card())
    services.card = None
    page.reload()
    expect(page.get_by_text("Your session has ended")).to_be_visible()


def test_a_wrong_proof_is_told_without_saying_what_was_wrong(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(401, 429, 422)
    services.next_sign_ins.append(problem(401, "no"))
    services.next_sign_ins.append(problem(429, "slow down", retry_after=120))
    fault = {"pointer": "#/cvv", "code": "invalid_cvv", "detail": "…"}
    services.next_sign_ins.append(problem(422, "wrong", errors=[fault]))
    fill_card(page, some_card(), named=False)
    button = page.locator("button[type=submit]")
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("Number, month and year, or CVV are not right.")
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("Try again in 2 minutes.")
    button.click()
    expect(problem_of(page, "CVV")).to_have_text("This is not the CVV's length for this card.")
    expect(page.get_by_label("CVV")).to_be_focused()


def test_a_refund_is_an_entry_of_its_own_that_leads_to_its_payment(page: Page, services: FakeServices) -> None:
    payment = services.add_entry(50_00, days_ago=3)
    services.add_entry(20_00, kind="refund", refund_of=payment["transaction_id"])
    sign_in(page, some_card())
    refund = page.locator(".entry").first
    expect(refund).to_contain_text("Refund from Codeshop")
    expect(refund).to_contain_text("+ R$20.00")
    refund.get_by_role("button", name=re.compile("Refund of the purchase of")).click()
    expect(page.locator(".entry").nth(1)).to_be_focused()


def test_older_entries_are_fetched_when_asked_for(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00, days_ago=400)
    services.add_entry(20_00, days_ago=120)
    services.add_entry(30_00)
    sign_in(page, some_card())
    expect(page.locator(".entry")).to_have_count(1)
    page.get_by_role("button", name="Show everything older").click()
    expect(page.locator(".entry")).to_have_count(3)
    assert page.locator(".entry-amount").all_inner_texts() == ["R$30.00", "R$20.00", "R$10.00"]
    expect(page.get_by_text("That is all")).to_be_visible()


def test_a_statement_that_was_built_anew_is_taken_up_again(
    visitor: Visitor, page: Page, services: FakeServices
) -> None:
    visitor.expects(422)
    services.add_entry(10_00)
    sign_in(page, some_card())
    services.statement_trouble = problem(422, "unknown cursor")
    poll(page, services)
    services.statement_trouble = None
    services.add_entry(20_00)
    poll(page, services)
    expect(page.locator(".entry")).to_have_count(2)


def test_the_whole_statement_is_one_csv_file(page: Page, services: FakeServices, tmp_path: Path) -> None:
    ids = [services.add_entry(1000 + position)["id"] for position in range(5)]
    sign_in(page, some_card("4539"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert re.fullmatch(r"codebank-\d{4}\.csv", download.value.suggested_filename)
    download.value.save_as(tmp_path / "file.csv")
    lines = (tmp_path / "file.csv").read_text().split()
    assert lines[0] == "id,amount_minor"
    assert [line.partition(",")[0] for line in lines[1:]] == ids


def test_what_stores_call_themselves_is_text(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00, store="<img src=x onerror=alert(1)>", description="<b>bold</b>{amount}")
    sign_in(page, some_card())
    services.add_entry(10_00, store="</p><script>alert(1)</script>")
    poll(page, services)
    expect(page.get_by_text("<b>bold</b>{amount}")).to_be_visible()
    assert page.locator(".entry img, .entry script, .entry b").count() == 0


def test_midnight_makes_today_yesterday(page: Page, services: FakeServices) -> None:
    services.add_entry(10_00)
    sign_in(page, some_card())
    expect(page.locator(".day h3")).to_have_text("Today")
    page.clock.fast_forward(24 * 3600 * 1000)
    poll(page, services)
    expect(page.locator(".day h3")).to_have_text("Yesterday")
