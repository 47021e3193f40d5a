"""The most memory that this process used since a moment."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def restart_peak() -> None:
    """Begin a new count, where the system can (Linux); elsewhere the peak is that of the whole process."""
    try:
        _RESET.write_text("5")
    except OSError:
        return


def peak_rss_mb() -> float:
    """Return the largest resident set since `restart_peak`, in MB of 1,000,000 bytes."""
    try:
        peaks = [line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    except OSError:
        peaks = []
    if peaks:
        return round(int(peaks[0]) * 1024 / 1e6, 1)
    # macOS counts bytes, everybody else KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
