"""Pictures of the site for the README and the docs, taken where `SCREENSHOTS=1` asks for them."""

import os
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

FOLDER = Path(__file__).resolve().parents[2] / "docs/images"
# Enough for an interface of few colours; a picture is a third of its size by it.
COLOURS = 64
MAX_BYTES = 150_000


def take_picture(page: Page, name: str) -> None:
    """Write what the window shows to `docs/images/NAME.png`, light and dark, if pictures are wanted."""
    if os.environ.get("SCREENSHOTS") != "1":
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.classList.toggle('dark', theme === 'dark')", theme)
        page.wait_for_timeout(300)  # the charts change their colours
        taken = Image.open(BytesIO(page.screenshot())).convert("RGB")
        path = FOLDER / f"{name}-{theme}.png"
        taken.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        assert path.stat().st_size < MAX_BYTES, f"{path}: {path.stat().st_size} bytes"
    page.evaluate("document.documentElement.classList.remove('dark')")
