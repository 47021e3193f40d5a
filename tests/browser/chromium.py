"""The browser of the tests: Debian's Chromium, installed where it is missing and may be."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

from tests.postgres import run_quietly

PROGRAM = "chromium"
# In a container /dev/shm is often 64 MB, in which larger pages crash.
ARGUMENTS = ["--disable-dev-shm-usage"]


class ChromiumMissingError(Exception):
    """The browser is not installed, and cannot be."""


def launched(playwright: Playwright) -> Browser:
    """Return a new browser without a window.

    Raises:
        ChromiumMissingError: if Chromium is not installed and apt cannot install it.

    """
    return playwright.chromium.launch(executable_path=installed(), args=ARGUMENTS)


def installed() -> str:
    """Return the path of Chromium, which is installed first if it is missing.

    Raises:
        ChromiumMissingError: if this user may not, or apt does not know the package.

    """
    if (found := shutil.which(PROGRAM)) is not None:
        return found
    if os.geteuid() != 0:
        raise ChromiumMissingError(f"got no program {PROGRAM}; install it as root with `apt-get install {PROGRAM}`")
    try:
        run_quietly(["apt-get", "update"])
        run_quietly(["apt-get", "install", "--yes", "--no-install-recommends", PROGRAM])
    except Exception as error:
        raise ChromiumMissingError(
            f"got no program {PROGRAM}, and `apt-get install {PROGRAM}` failed: {error}"
        ) from error
    return shutil.which(PROGRAM) or f"/usr/bin/{PROGRAM}"


if __name__ == "__main__":
    installed()
