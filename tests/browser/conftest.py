"""One site for all tests of the browser; a browser for each module of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import ChromiumMissingError, launched
from tests.browser.site import Site, running_site
from tests.missing import skip_without


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


# No longer than a module: while Playwright runs, Django takes the thread for an event loop and refuses queries in it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            started = launched(playwright)
        except ChromiumMissingError as error:
            skip_without(error)
        yield started
        started.close()
