"""A whole night on a memory of made-up pairs, and a second one after a day of new pairs, while somebody writes.

Run as `python -m tests.benchmarks.bench_night FOLDER [--pairs 1000000] [--new 1000]`. FOLDER takes the SQLite database
(2.5 GB for a million pairs) with its backup and the reports. The pairs have no conversations and are embedded already;
nothing is trained. Their vectors are drawn around 4,096 topics, so that neighbours are about as alike as in real
conversations; one in twenty is near to another one and says the same, one in five hundred differs from it in a number.
Three in ten have been used, with their row in the ledger. Beside the night, another process changes one row every 20 ms
and measures how long it waits for the lock.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.made_memory import fill_memory
from tests.benchmarks.sections import write_section

BASE = Path(__file__).resolve().parents[2]
STEPS = ("extract", "embed", "merge", "retire", "reemit", "recluster", "replay", "housekeeping")
ALLOWED_RSS_MB = 4_000
ALLOWED_WAIT_SECONDS = 1.0


def main() -> None:
    """Fill the database, take both nights, print the figures as JSON, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1_000_000, help="pairs of the first night (%(default)s)")
    parser.add_argument("--new", type=int, default=1_000, help="pairs that are new in the second (%(default)s)")
    given = parser.parse_args()
    database = given.folder.resolve() / "night.sqlite3"
    given.folder.mkdir(parents=True, exist_ok=True)
    for old in (*given.folder.glob("night.sqlite3*"), given.folder / "maintenance"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    os.environ["DATABASE_URL"] = f"sqlite:///{database}"
    os.environ["ARTIFACTS_DIR"] = str(given.folder.resolve())
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    random = np.random.default_rng(0)
    fill_memory(random, given.pairs)
    figures: dict[str, Any] = {"filled_mb": _size_mb(database), "first": _night(database)}
    fill_memory(random, given.new)
    figures |= {"second": _night(database), "size_mb": _size_mb(database)}
    sys.stdout.write(json.dumps(figures) + "\n")
    if given.pairs == parser.get_default("pairs"):
        write_section("night", ["step", "first night, s", "MB", "second night, s", "MB"], _rows(figures))
    nights = (figures["first"], figures["second"])
    if any(night["peak_rss_mb"] > ALLOWED_RSS_MB or night["longest_wait"] > ALLOWED_WAIT_SECONDS for night in nights):
        sys.exit(f"allowed at most {ALLOWED_RSS_MB} MB and a wait of {ALLOWED_WAIT_SECONDS} s")


def _night(database: Path) -> dict[str, Any]:
    """Take a night in a process of its own while another one writes; return its figures."""
    stop = multiprocessing.get_context("spawn").Event()
    waits = multiprocessing.get_context("spawn").Queue()
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(str(database), stop, waits))
    writer.start()
    began = time.perf_counter()
    command = [sys.executable, "manage.py", "nightly_maintenance", "--only", *STEPS, "--json"]
    done = subprocess.run(command, cwd=BASE, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.perf_counter() - began
    stop.set()
    found = waits.get()
    writer.join()
    report = json.loads(done.stdout)
    return {
        "seconds": seconds,
        "status": report["status"],
        "steps": report["steps"],
        "peak_rss_mb": max(step["peak_rss_mb"] for step in report["steps"].values()),
        "longest_wait": max(found),
        "median_wait": statistics.median(found),
        "writes": len(found),
    }


def _write(database: str, stop: Event, waits: Any) -> None:
    """Change one row every 20 ms until told to stop; hand over how long each change took, in seconds."""
    found = []
    with closing(sqlite3.connect(database, timeout=600, isolation_level=None)) as connection:
        for turn in _until(stop):
            began = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE memory_sftpair SET category = ? WHERE id = 1", [str(turn)])
            connection.execute("COMMIT")
            found.append(time.perf_counter() - began)
            time.sleep(0.02)
    waits.put(found)


def _until(stop: Event) -> Iterator[int]:
    turn = 0
    while not stop.is_set():
        yield turn
        turn += 1


def _size_mb(database: Path) -> float:
    return round(database.stat().st_size / 1e6)


def _rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    first, second = figures["first"], figures["second"]
    for name in STEPS:
        cells = [
            part
            for night in (first, second)
            for part in (f"{night['steps'][name]['seconds']:.1f}", f"{night['steps'][name]['peak_rss_mb']:,.0f}")
        ]
        yield [name, *cells]
    totals = [part for night in (first, second) for part in (f"{night['seconds']:.1f}", f"{night['peak_rss_mb']:,.0f}")]
    yield ["**whole night**", *totals]
    yield [
        "longest wait of a writer, s",
        *(part for night in (first, second) for part in (f"{night['longest_wait']:.2f}", "")),
    ]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    main()
