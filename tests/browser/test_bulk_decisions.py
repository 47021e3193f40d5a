"""A decision on many pairs that goes on by itself, in a real browser."""

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser.people import log_in
from tests.browser.site import Site

pytestmark = pytest.mark.slow


def test_the_button_keeps_the_focus_and_the_live_region_stays_while_a_decision_goes_on(
    browser: Browser, site: Site
) -> None:
    slices: list[Route] = []
    page = browser.new_page()
    log_in(page, site, "anna")
    page.route("**/continue/", lambda route: slices.append(route))
    page.goto(site.at("admin:memory_bulkdecision_changelist"))
    page.get_by_role("row").last.get_by_role("link").first.click()
    counts = page.locator("[aria-live=polite]", has_text="changed.")
    expect(counts).to_have_text("0 changed.")
    counts.evaluate("region => { region.isTheFirst = true }")
    page.get_by_role("button", name="Stop and undo").focus()

    while not slices:
        page.wait_for_timeout(50)
    slices[0].continue_()

    expect(page.get_by_role("button", name="Undo", exact=True)).to_be_focused()
    expect(counts).not_to_have_text("0 changed.")
    assert counts.evaluate("region => region.isTheFirst")
    expect(page.get_by_role("button", name="Go on")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("#desk-bulk")).to_contain_text("put back")
    page.close()
