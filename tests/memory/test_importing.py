"""What an import leaves in the database."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.importing import run
from memory.importing.reports import Counts, ImportReport
from memory.importing.run import import_paths
from memory.models import Conversation, ImportBatch, Message, PreferencePair, SftPair
from tests.memory.importers.test_chatgpt import export as chatgpt_export
from tests.memory.importers.test_chatgpt import node
from tests.memory.importers.test_legacy import SCHEMA, database

DATA = Path(__file__).parents[3] / "shared" / "data"


def said(name: str, parent: str | None, role: str, content: str = "", **fields: Any) -> dict[str, Any]:
    return {"id": name, "parent": parent, "role": role, "content": content or name, **fields}


def talk(*values: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "participant": "Mara", "messages": list(values), **fields}


def sharegpt(*texts: str, name: str = "s1") -> dict[str, Any]:
    speakers = ("human", "gpt")
    turns = [{"from": speakers[number % 2], "value": text} for number, text in enumerate(texts)]
    return {"id": name, "conversations": turns}


@pytest.fixture
def importing(tmp_path: Path) -> Any:
    def import_records(*records: Any, **options: Any) -> ImportReport:
        path = tmp_path / "export.json"
        path.write_text(json.dumps(records))
        return import_paths([path], **options)

    return import_records


def active() -> dict[str, bool]:
    return dict(Message.objects.values_list("content", "is_active_branch"))


@pytest.mark.django_db
def test_a_tree_is_stored_with_every_field(importing: Any) -> None:
    report = importing(
        talk(
            said("u", None, "user", created_at=1714564800),
            said("a", "u", "assistant", rating=-1, model="tiny", loss=1.5, original_content="before", active=False),
            said("b", "u", "assistant", reward_intensity=0.9, rating=1, created_at=1714564900),
            title="Sums",
            metadata={"room": "kitchen"},
            training_allowed=False,
        )
    )

    assert report.counts == Counts(conversations=1, messages=3)
    conversation = Conversation.objects.get()
    assert (conversation.source_system, conversation.external_id, conversation.participant) == ("native", "c1", "Mara")
    assert (conversation.title, conversation.metadata, conversation.training_allowed) == (
        "Sums",
        {"room": "kitchen"},
        False,
    )
    first, last = datetime(2024, 5, 1, 12, tzinfo=UTC), datetime(2024, 5, 1, 12, 1, 40, tzinfo=UTC)
    assert (conversation.started_at, conversation.updated_at) == (first, last)
    u, a, b = Message.objects.order_by("id")
    assert (u.parent, a.parent, b.parent) == (None, u, u)
    assert (a.branch_position, b.branch_position, a.is_active_branch, b.is_active_branch) == (0, 1, False, True)
    assert (a.rating, a.reward_intensity, a.reward_observed, a.loss, a.model_name) == (-1, 0.0, True, 1.5, "tiny")
    assert a.original_content == "before"
    assert (b.rating, b.reward_intensity) == (1, 0.9)
    assert (u.reward_intensity, u.reward_observed) == (0.5, False)
    assert (u.created_at, a.created_at, b.created_at) == (first, last, last)
    batch = ImportBatch.objects.get()
    assert conversation.import_batch == batch
    assert (batch.format, batch.status, batch.conversations, batch.messages) == ("native", "complete", 1, 3)


@pytest.mark.django_db
def test_the_same_file_again_adds_and_changes_nothing(importing: Any) -> None:
    records = [
        talk(said("u", None, "user"), said("a", "u", "assistant", rating=1)),
        talk(said("v", None, "user"), id="c2"),
    ]
    importing(*records)
    before = list(Message.objects.order_by("id").values())

    report = importing(*records)

    assert report.counts == Counts(already_present=2)
    assert list(Message.objects.order_by("id").values()) == before


@pytest.mark.django_db
def test_a_longer_export_adds_only_what_is_new(importing: Any) -> None:
    importing(sharegpt("Hi", "Hello"))
    report = importing(sharegpt("Hi", "Hello", "Bye", "Farewell"))

    assert report.counts == Counts(messages=2)
    assert [(m.content, m.parent and m.parent.content) for m in Message.objects.order_by("id")] == [
        ("Hi", None),
        ("Hello", "Hi"),
        ("Bye", "Hello"),
        ("Farewell", "Bye"),
    ]
    assert all(active().values())


@pytest.mark.django_db
@pytest.mark.parametrize("batch_rows", [1, 2_000])
def test_a_longer_record_of_the_same_conversation_may_lie_in_the_same_file(
    importing: Any, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", batch_rows)

    report = importing(sharegpt("Hi", "Hello"), sharegpt("Hi"), sharegpt("Hi", "Hello", "Bye"), sharegpt("Hi", "Hello"))

    assert report.counts == Counts(conversations=1, messages=3, already_present=2)
    assert Message.objects.count() == 3


@pytest.mark.django_db
def test_a_diverging_export_becomes_a_branch_and_leaves_the_old_one_behind(importing: Any) -> None:
    importing(sharegpt("Hi", "Hello", "Bye"))
    other = sharegpt("Hi", "Good day", "So long")
    report = importing(other)

    assert report.counts == Counts(messages=2, updated=2)
    assert active() == {"Hi": True, "Hello": False, "Bye": False, "Good day": True, "So long": True}
    drafts = Message.objects.filter(content__in=["Hello", "Good day"]).order_by("id")
    assert [m.branch_position for m in drafts] == [0, 1]
    assert len({m.parent_id for m in drafts}) == 1

    assert importing(other).counts == Counts(already_present=1)
    assert importing(sharegpt("Hi", "Hello", "Bye")).counts == Counts(already_present=1)


@pytest.mark.django_db
def test_reasoning_and_its_answer_move_to_a_free_place_together(importing: Any) -> None:
    importing(sharegpt("Hi", "Hello"))
    importing(sharegpt("Hi", "<think>hm</think>Good day"))

    assert dict(Message.objects.values_list("content", "branch_position")) == {
        "Hi": 0,
        "Hello": 0,
        "hm": 1,
        "Good day": 1,
    }


@pytest.mark.django_db
def test_a_new_draft_beside_stored_ones_and_a_switch_of_branch_are_taken_over(importing: Any) -> None:
    importing(talk(said("u", None, "user"), said("a", "u", "assistant", active=True)))
    longer = talk(
        said("u", None, "user"), said("a", "u", "assistant", active=False), said("b", "u", "assistant", active=True)
    )

    assert importing(longer).counts == Counts(messages=1, updated=1)
    assert active() == {"u": True, "a": False, "b": True}

    longer["messages"][1]["active"], longer["messages"][2]["active"] = True, False
    assert importing(longer).counts == Counts(updated=2)
    assert active() == {"u": True, "a": True, "b": False}


@pytest.mark.django_db
def test_changed_ratings_and_rewards_are_taken_over_and_missing_ones_are_kept(importing: Any) -> None:
    def rated(**fields: Any) -> dict[str, Any]:
        return talk(said("a", None, "assistant", **fields))

    def stored() -> tuple[int | None, float, bool]:
        message = Message.objects.get()
        return message.rating, message.reward_intensity, message.reward_observed

    importing(rated())
    assert stored() == (None, 0.5, False)
    assert importing(rated(rating=1)).counts == Counts(updated=1)
    assert stored() == (1, 1.0, True)
    importing(rated(rating=-1))
    assert stored() == (-1, 0.0, True)
    importing(rated(rating=-1, reward_intensity=0.7))
    assert stored() == (-1, 0.7, True)
    importing(rated(rating=1))
    assert stored() == (1, 0.7, True)
    assert importing(rated()).counts == Counts(already_present=1)
    assert stored() == (1, 0.7, True)


@pytest.mark.django_db
def test_an_edit_in_the_source_keeps_the_first_text(importing: Any) -> None:
    def edited(text: str, day: int) -> dict[str, Any]:
        return talk(said("a", None, "assistant", text), updated_at=f"2026-01-0{day}")

    importing(edited("first", 1))
    assert importing(edited("second", 2)).counts == Counts(updated=1)
    importing(edited("third", 3))

    message = Message.objects.get()
    assert (message.content, message.original_content) == ("third", "first")
    assert importing(edited("fourth", 3)).counts == Counts(already_present=1)


@pytest.mark.django_db
def test_an_older_export_adds_what_is_missing_and_changes_nothing(importing: Any) -> None:
    importing(
        talk(
            said("u", None, "user"), said("a", "u", "assistant", "new", rating=1), updated_at="2026-02-01", title="New"
        )
    )
    report = importing(
        talk(
            said("u", None, "user"),
            said("a", "u", "assistant", "old", rating=-1),
            said("b", "u", "assistant"),
            updated_at="2026-01-01",
            title="Old",
            training_allowed=False,
        )
    )

    assert report.counts == Counts(messages=1)
    assert active() == {"u": True, "new": True, "b": False}
    assert Message.objects.get(external_id="a").rating == 1
    conversation = Conversation.objects.get()
    assert (conversation.title, conversation.training_allowed) == ("New", True)
    assert conversation.updated_at == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_consent_is_withdrawn_by_an_export_and_never_granted_again(importing: Any) -> None:
    record = chatgpt_export(node("u", None, "user", "Forget this."))
    importing(record)
    assert importing({**record, "is_do_not_remember": True}).counts == Counts(updated=1)
    assert not Conversation.objects.get().training_allowed

    assert importing(record).counts == Counts(already_present=1)
    assert not Conversation.objects.get().training_allowed


@pytest.mark.django_db
def test_ratings_apart_from_messages_are_joined_and_unmatched_ones_named(tmp_path: Path) -> None:
    talks, feedback = tmp_path / "a.json", tmp_path / "b.json"
    talks.write_text(json.dumps([chatgpt_export(node("u", None, "user", "Hi"), node("a", "u", "assistant", "Hello"))]))
    rows = [
        {"conversation_id": "c1", "message_id": "a", "rating": "thumbsUp"},
        {"conversation_id": "c2", "message_id": "a", "rating": "thumbs_down"},
        {"message_id": "gone", "rating": "thumbs_down"},
    ]
    feedback.write_text(json.dumps(rows))

    # Named first, the ratings still come after the messages that they are about.
    report = import_paths([feedback, talks])

    message = Message.objects.get(external_id="a")
    assert (message.rating, message.reward_intensity, message.reward_observed) == (1, 1.0, True)
    assert report.counts == Counts(conversations=1, messages=2, updated=1)
    assert [(each.where, each.reason) for each in report.files[-1].skipped] == [
        ("record 2", "rating of message a in conversation c2: no such message is stored"),
        ("record 3", "rating of message gone: no such message is stored"),
    ]
    assert import_paths([feedback]).counts == Counts(already_present=1)


@pytest.mark.django_db
def test_preference_pairs_are_stored_once(importing: Any) -> None:
    pair = {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."}

    assert importing(pair, pair).counts == Counts(preference_pairs=1, already_present=1)
    assert importing(pair).counts == Counts(already_present=1)
    stored = PreferencePair.objects.get()
    assert (stored.prompt, stored.chosen, stored.rejected) == (
        [{"role": "user", "content": "Two and two?"}],
        "Four.",
        "Five.",
    )
    assert (stored.source, stored.margin) == ("import", 1.0)


@pytest.mark.django_db
def test_pairs_that_break_a_rule_are_named_and_cost_no_other(importing: Any) -> None:
    good = {"prompt": "Two and two?", "chosen": "Four.", "rejected": "Five."}

    report = importing({**good, "chosen": "4"}, {**good, "rejected": "Four. "}, good)

    assert report.counts == Counts(preference_pairs=1)
    assert [(each.where, each.reason) for each in report.files[0].skipped] == [
        ("record 1", "chosen: got 1 characters, allowed 2 or more"),
        ("record 2", "rejected: got the same text as chosen, allowed only another one"),
    ]


@pytest.mark.django_db
def test_legacy_pairs_are_stored_once_with_their_usage(tmp_path: Path) -> None:
    row = {"instruction": "Two and two?", "response": "Four.", "source": "chat", "is_used": 1, "training_epoch": 3}
    path = database(
        tmp_path / "old.db",
        SCHEMA,
        {**row, "used_timestamp": 1714564800},
        {**row, "instruction": " two and TWO? "},
        {"instruction": "x", "response": "Four."},
    )

    report = import_paths([path])

    assert report.counts == Counts(sft_pairs=1, already_present=1)
    assert [each.reason for each in report.files[0].skipped] == ["instruction: got 1 characters, allowed 2 or more"]
    pair = SftPair.objects.get()
    assert (pair.source, pair.metadata) == ("import", {"legacy_source": "chat", "legacy_id": 1})
    assert (pair.is_used, pair.training_epoch, pair.used_timestamp) == (True, 3, datetime(2024, 5, 1, 12, tzinfo=UTC))
    assert import_paths([path]).counts == Counts(already_present=2)


@pytest.mark.django_db
def test_since_leaves_out_what_is_older_and_keeps_what_has_no_date(importing: Any) -> None:
    report = importing(
        talk(said("a", None, "user"), id="old", updated_at="2025-12-31T23:59:59Z"),
        talk(said("b", None, "user"), id="new", updated_at="2026-01-01"),
        talk(said("c", None, "user", created_at="2025-01-01"), id="old by its message"),
        talk(said("d", None, "user"), id="undated"),
        since=datetime(2026, 1, 1, tzinfo=UTC),
    )

    assert set(Conversation.objects.values_list("external_id", flat=True)) == {"new", "undated"}
    assert report.counts == Counts(conversations=2, messages=2, left_out=2)


@pytest.mark.django_db
def test_a_dry_run_reports_the_same_and_stores_nothing(importing: Any) -> None:
    records = [talk(said("a", None, "user")), talk()]
    tried = importing(*records, dry_run=True)

    assert not Conversation.objects.exists()
    assert not ImportBatch.objects.exists()
    done = importing(*records)
    assert (tried.counts, tried.files[0].skipped) == (done.counts, done.files[0].skipped)
    assert done.counts == Counts(conversations=1, messages=1)


@pytest.mark.django_db
def test_strict_stores_nothing_at_all_if_any_file_is_damaged(tmp_path: Path) -> None:
    good, bad = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    good.write_text(json.dumps(talk(said("a", None, "user"))))
    bad.write_text(json.dumps(talk(said("b", None, "user"), id="c2")) + "\n" + json.dumps(talk()) + "\n")

    refused = import_paths([good, bad], strict=True)
    assert refused.counts == Counts()
    assert refused.is_damaged
    assert not Conversation.objects.exists()
    assert not ImportBatch.objects.exists()

    assert import_paths([good], strict=True).counts == Counts(conversations=1, messages=1)
    assert Conversation.objects.count() == 1


@pytest.mark.django_db
def test_a_file_that_is_cut_off_keeps_what_is_whole_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    whole = json.dumps([sharegpt("Hi", "Hello"), sharegpt("Hi", name="s2")])
    path.write_text(whole[:-10])

    report = import_paths([path])

    assert report.counts == Counts(conversations=1, messages=2)
    assert report.files[0].damage() == f"cut off at byte {len(whole) - 10}: the file ends inside a record"
    batch = ImportBatch.objects.get()
    assert (batch.status, batch.error) == ("cut_off", report.files[0].damage())


@pytest.mark.django_db
def test_of_a_folder_the_exports_are_imported_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "user.json").write_text('{"id": "me"}')
    (tmp_path / "chat.html").write_text("<html>")
    (tmp_path / "message_feedback.json").write_text("[]")
    (tmp_path / "conversations.json").write_text(json.dumps([chatgpt_export(node("u", None, "user", "Hi"))]))

    report = import_paths([tmp_path], strict=True)

    assert report.counts == Counts(conversations=1, messages=1)
    assert [Path(each.split(": ")[0]).name for each in report.passed_over] == [
        "chat.html",
        "message_feedback.json",
        "user.json",
    ]


@pytest.mark.django_db
def test_a_refused_file_costs_no_other(tmp_path: Path) -> None:
    good = tmp_path / "a.json"
    good.write_text(json.dumps([sharegpt("Hi")]))
    (tmp_path / "empty").mkdir()

    report = import_paths([tmp_path / "gone.json", good, tmp_path / "empty"])

    assert report.counts == Counts(conversations=1, messages=1)
    assert [(Path(each.path).name, each.error) for each in report.files] == [
        ("gone.json", "no such file or directory"),
        ("empty", "is a folder without a file of a known format"),
        ("a.json", ""),
    ]


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_a_batch(importing: Any) -> None:
    def queries(count: int, texts: tuple[str, ...]) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            importing(*(sharegpt(*texts, name=f"{count}-{number}") for number in range(count)))
        return len(captured)

    assert queries(1, ("Hi",)) == queries(50, ("Hi",))
    assert queries(1, ("Hi", "Hello")) == queries(50, ("Hi", "Hello"))


@pytest.mark.django_db
def test_text_that_no_database_takes_is_stored_without_it(importing: Any) -> None:
    importing(talk(said("a", None, "user", "nul\x00 and half \ud83d"), metadata={"k\x00": "v\x00"}))

    assert Message.objects.get().content.startswith("nul and half ")
    assert Conversation.objects.get().metadata == {"k": "v"}


@pytest.mark.django_db
def test_the_real_files_are_stored() -> None:
    report = import_paths([DATA / "preferences_sharegpt.json", DATA / "kto_messages.json"])

    # Five of the 300 pairs stand there twice.
    assert report.counts == Counts(conversations=300, messages=974, preference_pairs=295, already_present=5)
    assert Message.objects.filter(rating=1, reward_intensity=1.0).count() == 150
    assert Message.objects.filter(rating=-1, reward_intensity=0.0).count() == 150
    assert not report.is_damaged


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([sharegpt("Hi", "Hello", "Bye", name=f"s{number}") for number in range(3_000)]))
    return path


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's write lock; PostgreSQL has a test of its own")
@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_double_nothing_on_sqlite(tmp_path: Path, many: Path) -> None:
    file = tmp_path / "db.sqlite3"
    connection.ensure_connection()
    with closing(sqlite3.connect(file)) as copied:
        connection.connection.backup(copied)
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{file}", "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-m", "django", "import_conversations", str(many), "--json"]

    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    with closing(sqlite3.connect(file)) as stored:
        assert stored.execute("SELECT count(*) FROM memory_conversation").fetchone() == (3_000,)
        assert stored.execute("SELECT count(*) FROM memory_message").fetchone() == (9_000,)
    assert sum(report["conversations"] for report in reports) == 3_000
    assert sum(report["already_present"] for report in reports) == 3_000


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's advisory lock")
@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_double_nothing_on_postgresql(many: Path) -> None:
    start = threading.Barrier(2)
    reports: list[ImportReport] = []

    def work() -> None:
        start.wait()
        try:
            reports.append(import_paths([many]))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (Conversation.objects.count(), Message.objects.count()) == (3_000, 9_000)
    assert sum(report.counts.conversations for report in reports) == 3_000
    assert sum(report.counts.already_present for report in reports) == 3_000
