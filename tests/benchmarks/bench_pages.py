"""How long the server takes for the pages of the desk with a million pairs, on SQLite and on PostgreSQL.

Run as `python -m tests.benchmarks.bench_pages FOLDER [--pairs 1000000]`. FOLDER takes the SQLite database (4 GB for a
million pairs); the PostgreSQL server lives in the system's temporary folder and needs as much there. Two messages and a
replay entry for each pair come along, a preference pair and a journal entry for every fifth, a proposal for every
hundredth. The dashboard, the review of both channels with a decision and the similar
pairs, every list with each filter and each order that it offers, a change page, a history page, the dry run of a
decision on all rows and the first line of an export: medians of five, after one visit that warms the caches; the time
is the whole of a request within Django, without the network.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from tests.benchmarks.made_memory import fill_memory
from tests.benchmarks.sections import write_section
from tests.postgres import ServerMissingError, running_server

BASE = Path(__file__).resolve().parents[2]
RUNS = 5
ALLOWED_MS = 300
CLUSTERS = 256
# One in so many pairs was decided or retired.
RARE = 1_000
SLOWEST = 12

# An address, with what is posted there.
Request = tuple[str, dict[str, str] | None]

_PAIR_FILTERS: list[dict[str, str]] = [
    {"review_status__exact": "pending"},
    {"review_status__exact": "approved"},
    {"source__exact": "import"},
    {"is_used__exact": "1"},
    {"archive": "in"},
    {"archive": "out"},
    {"merged": "no"},
    {"merged": "yes"},
    {"age": "-7"},
    {"age": "365"},
    {"created_at_from": "2020-01-01"},
    {"confidence_from": "0.5"},
    {"confidence_to": "0.5"},
    {"cluster": "7"},
    {"run": "1"},
    {"run": "2"},
    {"q": "bantop"},
    {"q": "no such words"},
    {"p": "200"},
    {"review_status__exact": "approved", "is_used__exact": "1", "confidence_to": "0.5"},
]
# What is older has the lowest keys, which a list in the order of keys comes to last.
LONG_AGO = f"{datetime.now(UTC) - timedelta(days=365):%Y-%m-%d}"
_TIMES = [{"created_at_from": "2020-01-01"}, {"created_at_from": "2099-01-01"}, {"created_at_to": LONG_AGO}]
LISTS: dict[str, list[dict[str, str]]] = {
    "memory.sftpair": [
        *_PAIR_FILTERS,
        {"reward_intensity_from": "0.9"},
        {"reward_intensity_to": "0.0001"},
        {"reward_intensity_to": "0.0001", "review_status__exact": "pending", "source__exact": "import"},
    ],
    "memory.preferencepair": [*_PAIR_FILTERS, {"margin_from": "0.9"}],
    "memory.conversation": [{"training_allowed__exact": "0"}, {"source_system": "bench"}, {"q": "no such words"}],
    "memory.message": [
        {"role__exact": "user"},
        {"role__exact": "system"},
        {"kind__exact": "introspection"},
        {"rating__exact": "1"},
        {"is_active_branch__exact": "0"},
        {"internal_generated__exact": "1"},
        *_TIMES,
        {"role__exact": "user", "rating__exact": "1"},
        {"role__exact": "user", "created_at_to": LONG_AGO},
        {"conversation__id__exact": "1"},
        {"q": "no such words"},
    ],
    "memory.pairembedding": [{"cluster_from": "7", "cluster_to": "7"}, {"q": "4711"}],
    "memory.bulkdecision": [],
    "training.pairuse": [{"run__id__exact": "1"}, {"step_from": "5"}, {"q": "4711"}],
    "maintenance.rowchange": [
        {"run__id__exact": "1"},
        {"step": "merge"},
        {"table": "no such table"},
        {"changed_at_from": "2099-01-01"},
        {"q": "4711"},
    ],
    "training.trainingrun": [],
    "maintenance.maintenancerun": [],
    "maintenance.proposal": [{"status__exact": "accepted"}, {"kind__exact": "correction"}, {"q": "no such words"}],
    "memory.replayentry": [
        {"place": "buffer"},
        {"place": "evicted"},
        {"kind__exact": "introspection"},
        {"internal_generated__exact": "1"},
        {"reward_intensity_from": "0.9"},
        {"reward_intensity_from": "2"},
        *_TIMES,
        {"place": "buffer", "kind__exact": "experience", "reward_intensity_to": "0"},
        {"q": "no such words"},
    ],
}


def main() -> None:
    """Measure on both databases, print the figures as JSON, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1_000_000, help="memory pairs (%(default)s)")
    parser.add_argument("--here", action="store_true", help="measure on DATABASE_URL alone")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.here:
        sys.stdout.write(json.dumps(_measured(given.pairs)) + "\n")
        return
    database = given.folder.resolve() / "pages.sqlite3"
    for old in given.folder.glob("pages.sqlite3*"):
        old.unlink()
    figures = {"SQLite": _run(given, f"sqlite:///{database}")}
    try:
        with running_server() as url:
            figures["PostgreSQL"] = _run(given, url)
    except ServerMissingError as missing:
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.exit(f"{missing}; measured on SQLite alone")
    sys.stdout.write(json.dumps(figures) + "\n")
    if given.pairs == parser.get_default("pairs"):
        write_section("pages", ["page", "SQLite, ms", "queries", "PostgreSQL, ms", "queries"], _rows(figures))
    slow = [name for pages in figures.values() for name, (ms, _) in pages.items() if ms > ALLOWED_MS]
    if slow:
        sys.exit(f"allowed at most {ALLOWED_MS} ms, got more for {', '.join(sorted(set(slow)))}")


def _run(given: argparse.Namespace, url: str) -> dict[str, tuple[float, int]]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_pages", str(given.folder), "--pairs", str(given.pairs)]
    environment = {**os.environ, "DATABASE_URL": url, "ARTIFACTS_DIR": str(given.folder.resolve()), "DEBUG": "false"}
    done = subprocess.run([*command, "--here"], cwd=BASE, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, tuple[float, int]] = json.loads(done.stdout)
    return found


def _measured(pairs: int) -> dict[str, tuple[float, int]]:
    """Return for each page the median time in ms and the number of its queries."""
    os.environ.setdefault("SECRET_KEY", "a-key-for-benchmarks-only")
    os.environ["ALLOWED_HOSTS"] = "127.0.0.1"
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    if not os.environ.get("BENCH_FILLED"):
        call_command("migrate", verbosity=0)
        _fill(pairs)
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(SERVER_NAME="127.0.0.1", headers={"x-forwarded-proto": "https"})
    client.force_login(user)
    pages: dict[str, Callable[[], Request]] = dict(_desk())
    pages.update((name, partial(_same, request)) for name, request in _pages())
    return {name: _timed(client, prepared) for name, prepared in pages.items()}


def _timed(client: Any, prepared: Callable[[], Request]) -> tuple[float, int]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times = []
    for turn in range(RUNS + 1):
        address, data = prepared()
        with CaptureQueriesContext(connection) as captured:
            began = time.perf_counter()
            if data is None:
                response = client.get(address, secure=True)
            else:
                response = client.post(address, data, secure=True, headers={"HX-Request": "true"})
            if response.streaming:
                next(iter(response.streaming_content))
                next(iter(response.streaming_content))
            seconds = time.perf_counter() - began
        # An export that is not read to its end would keep its cursor until the garbage collector finds it.
        response.close()
        if response.status_code != 200:
            sys.exit(f"{address}: got status {response.status_code}, allowed 200")
        if turn:
            times.append(1000 * seconds)
    return round(statistics.median(times), 1), len(captured)


def _desk() -> Iterator[tuple[str, Callable[[], Request]]]:
    """Yield the pages that a morning is spent on."""
    from django.urls import reverse

    from dualchannel_site.desk.dashboard.snapshot import forget_snapshot
    from dualchannel_site.desk.review.channels import CHANNELS

    dashboard: Request = (reverse("admin:index"), None)

    def counted_anew() -> Request:
        forget_snapshot()
        return dashboard

    yield "dashboard", partial(_same, dashboard)
    yield "dashboard, counted anew", counted_anew
    yield "jobs", partial(_same, (reverse("desk:jobs"), None))
    for channel in CHANNELS.values():
        address = reverse("desk:review", args=[channel.name])
        yield f"review, {channel.name}", partial(_same, (address, None))
        yield f"review, {channel.name}, similar pairs", partial(_similar, channel)
        for decision in ("skip", "approve"):
            yield f"review, {channel.name}, {decision} with the next pair", partial(_decision, channel, decision)


def _same(request: Request) -> Request:
    return request


def _similar(channel: Any) -> Request:
    from django.urls import reverse

    from dualchannel_site.desk.review.queue import load_queue

    return reverse("desk:similar", args=[channel.name, load_queue(channel).next_pk]), None


def _decision(channel: Any, decision: str) -> Request:
    """Return the decision on the pair that waits first."""
    from django.urls import reverse

    from dualchannel_site.desk.review.queue import load_queue
    from memory.curation import state_of

    pair = channel.model.objects.get(pk=load_queue(channel).next_pk)
    return reverse("desk:decide", args=[channel.name, pair.pk]), {"decision": decision, "seen": state_of(pair)}


def _pages() -> Iterator[tuple[str, Request]]:
    from django.apps import apps
    from django.contrib import admin
    from django.http import HttpRequest
    from django.urls import reverse

    asked = HttpRequest()
    for label, filters in LISTS.items():
        model = apps.get_model(label)
        desk = admin.site._registry[model]
        name = f"admin:{label.replace('.', '_')}"
        address = reverse(f"{name}_changelist")
        yield label, (address, None)
        for found in filters:
            query = urlencode(found)
            yield f"{label} {query}", (f"{address}?{query}", None)
        shown = ["action_checkbox", *desk.get_list_display(asked)] if desk.actions else desk.get_list_display(asked)
        for column in desk.get_sortable_by(asked) or ():
            place = list(shown).index(column)
            for sign in ("", "-"):
                yield f"{label} in order {sign}{_name(column)}", (f"{address}?o={sign}{place}", None)
        row = model._default_manager.order_by("pk").first()
        if row is not None:
            yield f"{label}, page of a row", (reverse(f"{name}_change", args=[row.pk]), None)
    for label in ("memory.sftpair", "memory.preferencepair"):
        name = f"admin:{label.replace('.', '_')}"
        row = apps.get_model(label)._default_manager.earliest("pk")
        yield f"{label}, history of a row", (reverse(f"{name}_history", args=[row.pk]), None)
        counted = {"action": "approve", "query": "is_used__exact=1"}
        yield f"{label}, dry run on a filter", (reverse(f"{name}_bulk"), counted)
        counted = {"action": "approve", "query": ""}
        yield f"{label}, dry run on all rows", (reverse(f"{name}_bulk"), counted)
        for kind in ("csv", "jsonl"):
            yield f"{label}, start of an export, {kind}", (reverse(f"{name}_export"), {"format": kind, "query": ""})


def _name(column: Any) -> str:
    return str(getattr(column, "admin_order_field", column)) if callable(column) else str(column)


def _fill(pairs: int) -> None:
    from django.db import connection
    from django.db.models.functions import Mod

    from memory.models import PairEmbedding, PreferencePair, SftPair

    fill_memory(np.random.default_rng(0), pairs)
    _fill_rest(pairs)
    for model in (SftPair, PreferencePair):
        placed: Any = model.objects.alias(place=Mod("pk", RARE))
        placed.filter(place=7).update(review_status="approved", confidence=0.2)
        placed.filter(place=8).update(archived_at="2026-01-01T00:00:00Z")
        first = model.objects.earliest("pk").pk
        placed.filter(place=9).update(merged_into=first)
    PairEmbedding.objects.update(cluster=Mod("pk", CLUSTERS))
    with connection.cursor() as cursor:
        # As every night does.
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


def _fill_rest(pairs: int) -> None:
    """Store what lies beside `pairs` memory pairs, the runs and nights that a filter names first among it."""
    from training.models import PairUse, TrainingRun

    now = datetime.now(UTC)
    _fill_messages(2 * pairs, now)
    _fill_preferences(pairs // 5, now)
    _fill_night(pairs, now)
    run = TrainingRun.objects.create(config_path="small", config={}, status="succeeded")
    uses = [(run.pk, key, 1, 0, 0.1, "0" * 64, now) for key in _pairs(100)]
    _insert(PairUse, ("run_id", "sft_pair_id", "step", "epoch", "weight", "content_hash", "used_at"), uses)


def _fill_messages(count: int, now: datetime) -> None:
    """Store conversations of four messages, one a minute until `now`, and a replay entry for each answer."""
    from memory.bulk import reserve_ids
    from memory.models import Conversation, Message, ReplayEntry

    talks, keys = list(reserve_ids(Conversation, count // 4 + 1)), list(reserve_ids(Message, count))
    talk_columns = (
        *("id", "source_system", "external_id", "title", "participant", "training_allowed", "updated_at", "metadata"),
    )
    _insert(
        Conversation,
        talk_columns,
        ((key, "bench", str(key), f"Talk {key}", "somebody", True, now, {}) for key in talks),
    )
    message_columns = (
        *("id", "conversation_id", "external_id", "branch_position", "is_active_branch", "role", "kind"),
        *("internal_generated", "content", "original_content", "created_at", "rating", "reward_intensity"),
        *("reward_observed", "model_name"),
    )

    def message(number: int) -> tuple[Any, ...]:
        place, said = number % RARE, now - timedelta(minutes=count - number)
        kind = "introspection" if place == 5 else "dialogue"
        return (
            *(keys[number], talks[number // 4], str(number), 0, place > 0, ("user", "assistant")[number % 2], kind),
            *(place == 5, f"Message {number} of a talk " * 10, "", said, 1 if place == 7 else None, 0.5),
            *(False, ""),
        )

    _insert(Message, message_columns, map(message, range(count)))
    entry_columns = (
        *("message_id", "kind", "internal_generated", "prompt", "prompt_hash", "response", "reward_intensity"),
        *("created_at", "safety_flags", "evicted_at"),
    )

    def entry(number: int) -> tuple[Any, ...]:
        place, said = number % RARE, now - timedelta(minutes=count - number)
        return (
            *(keys[number], "introspection" if place == 5 else "experience", place == 5, f"Question {number}?"),
            *(f"{number:064d}", f"Message {number} of a talk " * 10, number % 997 / 997, said, []),
            now if place == 9 else None,
        )

    _insert(ReplayEntry, entry_columns, map(entry, range(1, count, 2)))


def _fill_preferences(count: int, now: datetime) -> None:
    from memory.models import PreferencePair
    from memory.text import preference_hash

    columns = (
        *("prompt", "chosen", "rejected", "source", "margin", "created_at", "content_hash", "metadata", "confidence"),
        *("sampling_weight", "review_status", "is_used"),
    )
    prompt = [{"role": "user", "content": "Say something about it."}]

    def pair(number: int) -> tuple[Any, ...]:
        chosen, rejected = f"Answer {number} said shortly.", f"Answer {number}, " + "at some length " * 20
        return (
            *(prompt, chosen, rejected, "import", number % 100 / 100, now - timedelta(minutes=number)),
            *(preference_hash(prompt, chosen, rejected), {}, 1.0, 1.0, "pending", False),
        )

    _insert(PreferencePair, columns, map(pair, range(count)))


def _fill_night(pairs: int, now: datetime) -> None:
    """Store a night with a journal entry for every fifth pair and a proposal for every hundredth; few are decided."""
    from maintenance.models import MaintenanceRun, Proposal, RowChange

    night = MaintenanceRun.objects.create(config_path="bench", config={}, status="succeeded", finished_at=now)
    keys = _pairs(pairs // 5)
    _insert(
        RowChange,
        ("run_id", "step", "table", "row_id", "before", "after", "history_id", "changed_at"),
        ((night.pk, "merge", "memory.sftpair", key, {"merged_into": None}, {"merged_into": 1}, 0, now) for key in keys),
    )
    _insert(
        Proposal,
        ("run_id", "kind", "sft_pair_id", "other_sft_pair_id", "similarity", "reason", "status", "created_at"),
        (
            (
                *(night.pk, ("correction", "contradiction")[key % 2], key, key - 1, key % 80 / 1000 + 0.92),
                *("1 or 2", "accepted" if key % RARE == 3 else "open", now - timedelta(minutes=key)),
            )
            for key in keys[1 : pairs // 100 + 1]
        ),
    )


def _pairs(count: int) -> list[int]:
    """Return the keys of the first `count` memory pairs."""
    from memory.models import SftPair

    return list(SftPair.objects.order_by("pk").values_list("pk", flat=True)[:count])


def _insert(model: Any, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    from memory.bulk import insert_rows

    left = iter(rows)
    while some := list(islice(left, 50_000)):
        insert_rows(model, columns, some)


def _rows(figures: dict[str, dict[str, tuple[float, int]]]) -> Iterator[list[str]]:
    """Yield the slowest pages, then the median of all."""
    names = sorted(figures["SQLite"], key=lambda name: -max(pages[name][0] for pages in figures.values()))
    for name in names[:SLOWEST]:
        cells = [str(cell) for pages in figures.values() for cell in (f"{pages[name][0]:.0f}", pages[name][1])]
        yield [f"`{name}`", *cells]
    medians = [statistics.median(ms for ms, _ in pages.values()) for pages in figures.values()]
    yield [f"**median of all {len(names)} pages**", f"{medians[0]:.0f}", "", f"{medians[1]:.0f}", ""]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    main()
