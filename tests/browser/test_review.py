"""The review in a real browser, off the straight way: a text not saved, an ended session, back, no scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page, expect

from tests.browser.people import log_in
from tests.browser.site import Site

pytestmark = pytest.mark.slow

TYPED = "A correction that took a while to write."


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context()
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    """The review of the memory pairs, with a curator before it."""
    opened = context.new_page()
    log_in(opened, site, "curator")
    opened.goto(site.at("desk:review"), wait_until="load")
    return opened


def title(page: Page) -> Locator:
    return page.locator("#review-title")


def message(page: Page) -> Locator:
    return page.locator("#review-message")


def response_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Response")


def type_a_response(page: Page) -> str:
    """Type into the response of the pair that is shown, without saving it; return the pair's title."""
    page.keyboard.press("e")
    response_field(page).fill(TYPED)
    return title(page).inner_text()


def end_session(page: Page) -> None:
    page.context.clear_cookies(name="sessionid")


def expect_saved(page: Page, pair: str) -> None:
    expect(message(page)).to_contain_text(f"Pair {pair.split()[-1]} edited and approved")
    expect(title(page)).not_to_have_text(pair)


def expect_still_typed(page: Page, pair: str) -> None:
    expect(title(page)).to_have_text(pair)
    expect(response_field(page)).to_have_value(TYPED)


@pytest.mark.parametrize("decide", ["a key", "a click"])
def test_no_decision_passes_over_a_text_that_is_not_saved(decide: str, page: Page) -> None:
    pair = type_a_response(page)
    page.keyboard.press("Escape")
    expect(response_field(page)).to_be_hidden()
    if decide == "a key":
        page.keyboard.press("a")
    else:
        page.get_by_role("button", name="Approve", exact=True).click()
    expect(message(page)).to_contain_text("what you typed under Response is not saved")
    expect(response_field(page)).to_be_focused()
    expect_still_typed(page, pair)
    page.keyboard.press("Control+Enter")
    expect_saved(page, pair)


def test_a_discarded_text_is_in_no_decisions_way(page: Page) -> None:
    pair = type_a_response(page)
    page.get_by_role("button", name="Discard the changes").click()
    expect(response_field(page)).not_to_have_value(TYPED)
    page.keyboard.press("r")
    expect(message(page)).to_contain_text(f"Pair {pair.split()[-1]} rejected.")


def test_leaving_the_page_asks_first_where_a_text_is_not_saved(page: Page) -> None:
    pair = type_a_response(page)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.get_by_role("link", name="all fields").click()
    expect_still_typed(page, pair)
    assert asked == ["beforeunload"]


def test_a_text_that_a_colleague_forestalled_can_still_be_saved(page: Page, browser: Browser, site: Site) -> None:
    pair = type_a_response(page)
    address = f"{site.at('desk:review')}{pair.split()[-1]}/"
    colleague = browser.new_context().new_page()
    log_in(colleague, site, "anna")
    colleague.goto(address, wait_until="load")
    colleague.keyboard.press("a")
    expect(title(colleague)).not_to_have_text(pair)
    colleague.context.close()
    page.keyboard.press("Control+Enter")
    expect(message(page)).to_contain_text("was changed since you saw it")
    expect(page.locator("#review-card")).to_contain_text("approved")
    expect_still_typed(page, pair)
    # It is as little saved as before; Escape leaves the field once the new card has put the cursor there.
    expect(response_field(page)).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(message(page)).to_contain_text("is not saved")
    page.keyboard.press("Control+Enter")
    expect_saved(page, pair)


def test_a_text_outlives_the_session_in_which_it_was_typed(page: Page, site: Site) -> None:
    pair = type_a_response(page)
    end_session(page)
    page.keyboard.press("Control+Enter")
    expect(message(page)).to_contain_text("You are no longer logged in")
    expect_still_typed(page, pair)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="log in in another tab").click()
    log_in(opened.value, site, "curator")
    opened.value.close()
    response_field(page).press("Control+Enter")
    expect_saved(page, pair)


def test_the_login_does_not_come_in_place_of_the_similar_pairs(page: Page) -> None:
    pair = title(page).inner_text()
    end_session(page)
    page.keyboard.press("m")
    expect(message(page)).to_contain_text("You are no longer logged in")
    expect(page.get_by_label("Password")).to_have_count(0)
    expect(title(page)).to_have_text(pair)


def test_keys_count_after_going_back(page: Page) -> None:
    shown = [title(page).inner_text()]
    for _ in range(2):
        page.keyboard.press("s")
        expect(title(page)).not_to_have_text(shown[-1])
        expect(page.locator("#review").locator(".htmx-request, .htmx-settling")).to_have_count(0)
        shown.append(title(page).inner_text())
    page.go_back()
    expect(title(page)).to_have_text(shown[1])
    page.wait_for_load_state("load")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("a")
    expect(message(page)).to_contain_text(f"Pair {shown[1].split()[-1]} approved.")


@pytest.mark.parametrize("width", [1280, 390])
def test_without_scripts_a_person_gets_from_the_login_to_a_decision(width: int, browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 900})
    page = context.new_page()
    log_in(page, site, "curator")
    page.get_by_role("link", name="Review: Memory").click()
    pair = title(page).inner_text().split()[-1]
    page.locator("summary", has_text="Similar pairs").click()
    page.get_by_role("link", name="Show them on a page of their own").click()
    expect(page.get_by_role("list", name="Similar pairs").get_by_role("listitem").first).to_be_visible()
    page.get_by_role("link", name=f"Back to pair {pair}").click()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_text(f"Pair {pair} approved.").first).to_be_visible()
    context.close()


def test_without_scripts_a_form_shows_its_fields(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, site, "curator")
    page.goto(site.at("admin:memory_sftpair_change"))
    expect(page.get_by_label("Response")).to_be_visible()
    context.close()
