"""People at the browser, as they are on the stage."""

from playwright.sync_api import Page

from tests.browser.site import PASSWORD, Site


def log_in(page: Page, site: Site, name: str) -> None:
    """Log in as `name` and wait for the dashboard."""
    page.goto(site.at("admin:login"))
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(site.at("admin:index"))
