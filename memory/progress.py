"""A bar on the terminal for work that takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

# Shorter work needs no bar.
SHOWN_AFTER_SECONDS = 2.0
_REDRAWN_EVERY_SECONDS = 0.1


@contextmanager
def byte_progress() -> Iterator[Callable[[Path, int, int], None] | None]:
    """Give a function to call with a file, the position in it and its size in bytes; None where nobody looks on.

    The bar goes to stderr, and only to a terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    began = redrawn = time.monotonic()
    tasks: dict[Path, TaskID] = {}

    def show(path: Path, position: int, size: int) -> None:
        nonlocal redrawn
        now = time.monotonic()
        if now - began < SHOWN_AFTER_SECONDS or now - redrawn < _REDRAWN_EVERY_SECONDS:
            return
        redrawn = now
        progress.start()
        if path not in tasks:
            tasks[path] = progress.add_task(path.name, total=size)
        progress.update(tasks[path], completed=position)

    try:
        yield show
    finally:
        progress.stop()


@contextmanager
def count_progress(description: str, *, total: int) -> Iterator[Callable[[int], None] | None]:
    """Give a function to call with how many more of `total` are done; None where nobody looks on.

    The bar goes to stderr, and only to a terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(description, total=total)
    began = time.monotonic()

    def advance(count: int) -> None:
        progress.update(task, advance=count)
        if time.monotonic() - began >= SHOWN_AFTER_SECONDS:
            progress.start()

    try:
        yield advance
    finally:
        progress.stop()


@contextmanager
def share_progress() -> Iterator[Callable[[str, float], None]]:
    """Give a function to call with what is being done and the share of it that is done, 0 to 1.

    The bar goes to stderr, and only to a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda text, share: None
        return
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task("", total=1.0)

    def show(text: str, share: float) -> None:
        progress.start()
        progress.update(task, description=text, completed=share)

    try:
        yield show
    finally:
        progress.stop()
