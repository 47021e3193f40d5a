"""Pages in a real browser, light and dark, wide and narrow: no error, no barrier, nothing wider than the window."""

from collections.abc import Iterator, Mapping
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.accessibility import ALLOWED
from tests.browser.people import log_in
from tests.browser.site import Site
from tests.browser.watching import Watched

pytestmark = pytest.mark.slow

WIDTHS = (1280, 390)
HEIGHT = 900
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
PAGES = [
    "admin:index",
    "desk:review",
    "desk:review_pair",
    "desk:jobs",
    "desk:job",
    "desk:start-extraction",
    "desk:plan-training",
    "desk:start-night",
    "admin:memory_sftpair_changelist",
    "admin:memory_sftpair_change",
    "admin:memory_sftpair_add",
    "admin:memory_sftpair_history",
    "admin:memory_sftpair_simple_history",
    "admin:memory_preferencepair_changelist",
    "admin:memory_preferencepair_change",
    "admin:memory_conversation_changelist",
    "admin:memory_conversation_change",
    "admin:memory_conversation_delete",
    "admin:memory_sftpair_import",
    "admin:memory_bulkdecision_changelist",
    "admin:memory_bulkdecision_change",
    "admin:memory_message_changelist",
    "admin:memory_message_change",
    "admin:memory_replayentry_changelist",
    "admin:memory_replayentry_change",
    "admin:memory_importbatch_changelist",
    "admin:memory_importbatch_change",
    "admin:memory_pairembedding_changelist",
    "admin:training_trainingrun_changelist",
    "admin:training_trainingrun_change",
    "admin:training_pairuse_changelist",
    "admin:maintenance_maintenancerun_changelist",
    "admin:maintenance_maintenancerun_change",
    "admin:maintenance_proposal_changelist",
    "admin:maintenance_proposal_change",
    "admin:maintenance_clustering_changelist",
    "admin:maintenance_clustering_change",
    "admin:maintenance_archivefile_changelist",
    "admin:maintenance_archivefile_change",
    "admin:maintenance_rowchange_changelist",
    "admin:maintenance_rowchange_change",
    "admin:constance_config_changelist",
    "admin:auth_user_changelist",
    "admin:auth_user_add",
    "admin:auth_user_change",
    "admin:auth_group_change",
    "admin:axes_accessattempt_changelist",
    "admin:password_change",
]


@pytest.fixture(scope="module")
def contexts(browser: Browser, site: Site) -> Iterator[Mapping[Theme, BrowserContext]]:
    """Return a window of each theme in which a superuser has logged in."""
    made = {theme: browser.new_context(color_scheme=theme, reduced_motion="reduce") for theme in THEMES}
    for context in made.values():
        page = context.new_page()
        log_in(page, site, "anna")
        page.close()
    yield made
    for context in made.values():
        context.close()


def looked_at(context: BrowserContext, url: str) -> list[str]:
    """Return what is wrong with the page at `url`, wide and narrow."""
    watched = Watched(context.new_page())
    found = []
    for width in WIDTHS:
        watched.page.set_viewport_size({"width": width, "height": HEIGHT})
        if watched.page.url != url:
            watched.page.goto(url, wait_until="load")
        seen = [*watched.problems(), *watched.sideways(), *watched.accessibility()]
        found += [f"{width} px: {line}" for line in seen if line not in ALLOWED]
    watched.page.close()
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_error_and_no_barrier(name: str, contexts: Mapping[Theme, BrowserContext], site: Site) -> None:
    found = {theme: looked_at(context, site.at(name)) for theme, context in contexts.items()}
    assert found == {theme: [] for theme in THEMES}


def test_the_login_has_no_error_and_no_barrier_even_where_it_fails(browser: Browser, site: Site) -> None:
    for theme in THEMES:
        context = browser.new_context(color_scheme=theme, reduced_motion="reduce")
        assert looked_at(context, site.at("admin:login")) == []
        watched = Watched(context.new_page())
        watched.page.goto(site.at("admin:login"))
        watched.page.get_by_label("Username").fill("nobody")
        watched.page.get_by_label("Password").fill("wrong")
        watched.page.get_by_role("button", name="Log in").click()
        watched.page.get_by_text("Please enter the correct username").wait_for()
        assert [*watched.problems(), *watched.accessibility()] == []
        context.close()


def test_no_count_on_the_dashboard_is_broken_into_two(contexts: Mapping[Theme, BrowserContext], site: Site) -> None:
    page = contexts["light"].new_page()
    # Three cards beside each other leave little room.
    page.set_viewport_size({"width": 1100, "height": HEIGHT})
    page.goto(site.at("admin:index"))
    lines = page.locator(".desk-count").evaluate_all(
        """counts => counts.map((count) => {
            const range = document.createRange();
            range.selectNodeContents(count);
            return range.getClientRects().length;
        })"""
    )
    assert set(lines) == {1}
    page.close()


def test_a_broken_page_is_noticed(contexts: Mapping[Theme, BrowserContext], site: Site) -> None:
    """The watch itself: a script in the page, a missing file, an error, a barrier and an overlong line."""
    watched = Watched(contexts["light"].new_page())
    watched.page.goto(site.at("admin:password_change"))
    assert watched.problems() == []
    watched.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.inlineScriptRan = true";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "/static/no-such-dog.png";
            document.body.append(image);
            const wide = document.createElement("div");
            wide.style.width = "3000px";
            wide.textContent = "wide";
            document.body.append(wide);
            setTimeout(() => { throw new Error("no dog"); }, 0);
        }"""
    )
    watched.page.wait_for_load_state("networkidle")
    found = "\n".join([*watched.problems(), *watched.sideways(), *watched.accessibility()])
    assert watched.page.evaluate("window.inlineScriptRan") is None
    for part in ("Content Security Policy", "status 404", "page error: no dog", "px wide", "image-alt"):
        assert part in found
    watched.page.close()
