"""A page that is watched: whatever goes wrong in the browser is written down."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request, Response
from playwright.sync_api import TimeoutError as TooLongError

PAGE_WIDTH = "document.scrollingElement.scrollWidth"
SETTLED_WITHIN_MILLISECONDS = 2_000
# Rows of a list are alike: looking at more of them takes long and finds nothing.
LOOKED_AT_ROWS = 8
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


class Watched:
    """A page, with the problems that it had since they were last asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._problems: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._problems.append(f"page error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def problems(self) -> list[str]:
        """Return what went wrong since the last call."""
        found, self._problems = self._problems, []
        return found

    def accessibility(self) -> list[str]:
        """Return what on the page breaks a rule of level A or AA, each with the places."""
        self.page.evaluate(
            "count => [...document.querySelectorAll('#result_list > tbody')].slice(count).forEach(row => row.remove())",
            LOOKED_AT_ROWS,
        )
        results = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": LEVELS}})
        return [line for violation in results.response["violations"] for line in _lines(violation)]

    def sideways(self) -> list[str]:
        """Return a line if the page is wider than the window, and stays so when charts have had time to shrink."""
        try:
            self.page.wait_for_function(f"{PAGE_WIDTH} <= window.innerWidth", timeout=SETTLED_WITHIN_MILLISECONDS)
        except TooLongError:
            widths = self.page.evaluate(f"[{PAGE_WIDTH}, window.innerWidth]")
            return [f"page is {widths[0]} px wide, the window {widths[1]}"]
        return []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._problems.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # Going on to the next page ends what was still loading.
        if request.failure != "net::ERR_ABORTED":
            self._problems.append(f"not loaded: {request.url} ({request.failure})")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._problems.append(f"status {response.status}: {response.url}")


def _lines(violation: dict[str, Any]) -> list[str]:
    return [f"{violation['id']}: {' '.join(map(str, node['target']))}" for node in violation["nodes"]]
