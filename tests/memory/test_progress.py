import io
import sys
from pathlib import Path

import pytest

from memory import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_as_stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # No fixture: pytest gives each phase of a test an stderr of its own.
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("TERM", "xterm")
    return found


def test_nothing_is_drawn_where_nobody_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    with progress.byte_progress() as show:
        assert show is None


def test_short_work_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)

    with progress.byte_progress() as show:
        assert show is not None
        show(Path("export.json"), 50, 100)

    assert "export.json" not in terminal.getvalue()


def test_long_work_shows_the_file_and_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_as_stderr(monkeypatch)
    monkeypatch.setattr(progress, "SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_REDRAWN_EVERY_SECONDS", 0.0)

    with progress.byte_progress() as show:
        assert show is not None
        show(Path("export.json"), 50, 100)

    assert "export.json" in terminal.getvalue()
    assert "50/100 bytes" in terminal.getvalue()
