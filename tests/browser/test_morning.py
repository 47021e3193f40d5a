"""A whole morning at the desk, by one person in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.people import log_in
from tests.browser.pictures import take_picture
from tests.browser.site import Site
from tests.browser.watching import Watched

pytestmark = pytest.mark.slow

PAIRS = 10
# Loading torch and a model takes a while on a busy machine.
JOB_MILLISECONDS = 120_000


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    yield Watched(context.new_page())
    context.close()


def test_a_morning_at_the_desk(watched: Watched, site: Site) -> None:
    page = watched.page
    log_in(page, site, "anna")
    review_by_keyboard(page)
    review_preferences_by_keyboard(page)
    edit_one(page)
    reemit_a_filter_and_undo_it(page, site)
    with site.worker():
        run = train(page)
    read_the_dashboard(page, site, run)
    assert watched.problems() == []


def shown_pair(page: Page) -> str:
    return page.locator("#review-title").inner_text()


def open_review(page: Page, link: str, title: str) -> None:
    page.get_by_role("link", name=link).click()
    expect(page.locator("#review-title")).to_contain_text(title)
    # Keys count once the page's scripts are there.
    page.wait_for_load_state("load")


def press(page: Page, key: str, said: str | re.Pattern[str]) -> None:
    """Press a key of the review and wait for what the desk says to it, the next pair there already."""
    before = shown_pair(page)
    page.keyboard.press(key)
    expect(page.locator("#review-message")).to_contain_text(said)
    expect(page.locator("#review-title")).not_to_have_text(before)
    expect(page.locator("#review-title")).to_be_focused()
    expect(page.locator("#review").locator(".htmx-request, .htmx-settling")).to_have_count(0)


def review_by_keyboard(page: Page) -> None:
    open_review(page, "Review: Memory", "Memory pair")
    take_picture(page, "review-memory")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    seen = []
    for number in range(PAIRS):
        seen.append(shown_pair(page))
        press(page, "ars"[number % 3], re.compile(seen[-1].split()[-1]))
    assert len(set(seen)) == PAIRS
    last = seen[-1]
    page.keyboard.press("z")
    expect(page.locator("#review-message")).to_contain_text("Undone")
    expect(page.locator("#review-title")).to_have_text(last)


def review_preferences_by_keyboard(page: Page) -> None:
    open_review(page, "Review: Preferences", "Preference pair")
    take_picture(page, "review-preference")
    for key in ("a", "w", "t"):
        press(page, key, re.compile(shown_pair(page).split()[-1]))


def edit_one(page: Page) -> None:
    open_review(page, "Review: Memory", "Memory pair")
    edited = shown_pair(page).split()[-1]
    page.keyboard.press("e")
    field = page.get_by_role("textbox", name="Response")
    expect(field).to_be_focused()
    # While one types, letters are letters.
    field.fill("She is called Pixel, and she is ")
    page.keyboard.press("End")
    page.keyboard.type("a rather grey dog.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#review-message")).to_contain_text(edited)
    page.goto(re.sub(r"/memory/.*", f"/memory/{edited}/", page.url))
    expect(page.locator(".review-main")).to_contain_text("She is called Pixel, and she is a rather grey dog.")
    expect(page.get_by_role("region", name="History of the pair")).to_contain_text("anna")


def number_in(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def reemit_a_filter_and_undo_it(page: Page, site: Site) -> None:
    used = f"{site.at('admin:memory_sftpair_changelist')}?is_used__exact=1"
    page.goto(used)
    expect(page.locator("#result_list tbody tr").first).to_be_visible()
    take_picture(page, "memory-pairs")
    rows = page.locator("#result_list tbody tr").count()
    page.get_by_text("Decide all rows of this filter").click()
    page.get_by_label("Decision").select_option("reemit")
    page.get_by_role("button", name="Count first").click()
    counted = number_in(
        page.locator("dt", has_text="Would change").locator("xpath=following-sibling::dd[1]").inner_text()
    )
    assert counted >= rows > 0
    page.get_by_label(re.compile("^Why")).fill("the dog was renamed")
    page.get_by_role("button", name="Re-emit: offer used pairs to training again").click()
    expect(page.locator("#desk-bulk")).to_contain_text(f"{counted} changed.")
    page.goto(used)
    expect(page.locator("#result_list tbody tr")).to_have_count(0)
    page.go_back()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#desk-bulk")).to_contain_text(f"{counted} put back")
    page.goto(used)
    expect(page.locator("#result_list tbody tr")).to_have_count(rows)


def train(page: Page) -> str:
    """Plan a training, start it, watch it to its end; return the name of its run."""
    page.get_by_role("link", name=re.compile("Jobs$")).click()
    page.get_by_role("link", name="Start training").click()
    page.get_by_label("Config", exact=True).select_option("tiny.yaml")
    page.get_by_role("button", name="Show the plan").click()
    # The page changes by itself, until the plan is there.
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_visible(timeout=JOB_MILLISECONDS)
    take_picture(page, "training-plan")
    start.click()
    expect(page.get_by_role("button", name="Cancel the job")).to_be_visible()
    expect(page.locator("#job-progress")).to_contain_text("Succeeded", timeout=JOB_MILLISECONDS)
    link = page.locator("#job-outcome").get_by_role("link", name=re.compile("^Run "))
    run = link.inner_text()
    link.click()
    curves = page.locator("canvas").first
    expect(curves).to_be_visible()
    curves.evaluate("canvas => canvas.closest('section').scrollIntoView()")
    take_picture(page, "training-run")
    return run


def read_the_dashboard(page: Page, site: Site, run: str) -> None:
    page.goto(site.at("admin:index"))
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_role("region", name="The last runs").get_by_role("link", name=run, exact=True)).to_be_visible()
    take_picture(page, "dashboard")
    page.get_by_role("link", name=re.compile("Nights$")).click()
    page.locator("#result_list tbody tr").last.get_by_role("link").first.click()
    expect(page.locator("#content")).to_contain_text("Morning report")
    take_picture(page, "night")
