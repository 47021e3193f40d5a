"""The peak is that of a step, not that of the night so far."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from maintenance import peak_memory
from maintenance.peak_memory import peak_rss_mb, restart_peak


@pytest.mark.skipif(not peak_memory._RESET.exists(), reason="the system keeps one peak for the whole process")
def test_a_peak_is_forgotten_with_a_new_count() -> None:
    restart_peak()
    before = peak_rss_mb()
    # Written to, so that it is there; 200 MB of 8-byte numbers.
    big = np.ones(25_000_000)
    during = peak_rss_mb()
    del big
    restart_peak()
    after = peak_rss_mb()
    assert 195 < during - before < 260
    assert after < during - 150


def test_where_the_system_tells_no_peak_the_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = peak_rss_mb()
    monkeypatch.setattr(peak_memory, "_RESET", tmp_path / "missing" / "clear_refs")
    restart_peak()
    for status in (tmp_path / "missing", tmp_path / "status"):
        (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t  1000 kB\n")
        monkeypatch.setattr(peak_memory, "_STATUS", status)
        assert peak_rss_mb() >= told * 0.9


def test_mac_counts_bytes_and_everybody_else_kib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", "linux")
    kib = peak_rss_mb()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_rss_mb() == pytest.approx(kib / 1024, rel=0.05, abs=0.1)
