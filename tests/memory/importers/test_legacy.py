import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memory.importers.records import ParsedSftPair, Skipped, UnreadableFileError
from tests.memory.importers.reading import read_path

SCHEMA = (
    "CREATE TABLE sft_pairs (id INTEGER PRIMARY KEY, instruction TEXT NOT NULL, response TEXT NOT NULL, context TEXT, "
    "source TEXT, category TEXT, confidence REAL, reward_intensity REAL, loss REAL, created_at, metadata TEXT, "
    "is_used INTEGER, used_timestamp, training_epoch INTEGER)"
)


def database(path: Path, schema: str, *rows: dict[str, object]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(schema)
        for row in rows:
            places = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT INTO sft_pairs ({', '.join(row)}) VALUES ({places})",  # noqa: S608
                list(row.values()),
            )
    return path


def test_every_column_is_kept_with_the_usage(tmp_path: Path) -> None:
    path = database(
        tmp_path / "old.db",
        SCHEMA,
        {
            "id": 7,
            "instruction": "Two and two?",
            "response": "Four.",
            "context": '[{"role": "system", "content": "Be short."}]',
            "source": "chat",
            "category": "sums",
            "confidence": 0.8,
            "reward_intensity": 0.7,
            "loss": 1.5,
            "created_at": 1714564800.0,
            "metadata": '{"lesson": 3}',
            "is_used": 1,
            "used_timestamp": "2024-05-02T12:00:00",
            "training_epoch": 2,
        },
    )

    assert read_path(path) == [
        ParsedSftPair(
            instruction="Two and two?",
            response="Four.",
            context=({"role": "system", "content": "Be short."},),
            category="sums",
            confidence=0.8,
            reward_intensity=0.7,
            loss=1.5,
            created_at=datetime(2024, 5, 1, 12, tzinfo=UTC),
            is_used=True,
            used_timestamp=datetime(2024, 5, 2, 12, tzinfo=UTC),
            training_epoch=2,
            metadata={"lesson": 3, "legacy_source": "chat", "legacy_id": 7},
            where="row 1",
        )
    ]


def test_instruction_and_response_are_enough(tmp_path: Path) -> None:
    schema = "CREATE TABLE sft_pairs (instruction TEXT, response TEXT)"
    path = database(tmp_path / "old.db", schema, {"instruction": "Two and two?", "response": "Four."})

    [pair] = read_path(path)

    assert isinstance(pair, ParsedSftPair)
    assert (pair.confidence, pair.reward_intensity, pair.is_used, pair.created_at) == (1.0, 0.5, False, None)


def test_a_use_without_time_and_epoch_takes_the_time_of_the_pair_and_epoch_zero(tmp_path: Path) -> None:
    row = {"instruction": "Hi", "response": "Hello", "created_at": "2024-05-01 12:00:00", "is_used": 1}

    [pair] = read_path(database(tmp_path / "old.db", SCHEMA, row))

    assert isinstance(pair, ParsedSftPair)
    assert (pair.used_timestamp, pair.training_epoch) == (datetime(2024, 5, 1, 12, tzinfo=UTC), 0)


def test_a_bad_row_is_named_and_costs_no_other(tmp_path: Path) -> None:
    path = database(
        tmp_path / "old.db",
        SCHEMA,
        {"instruction": "Hi", "response": "Hello", "confidence": 3},
        {"instruction": "Hi", "response": b"\xff\xfe"},
        {"instruction": "Hi", "response": "Hello", "context": "Be short."},
    )

    first, second, third = read_path(path)

    assert first == Skipped("row 1", "confidence: got 3.0, allowed 0 to 1")
    assert second == Skipped("row 2", r"response: got b'\xff\xfe', allowed text")
    assert isinstance(third, ParsedSftPair)
    assert third.context == ({"role": "system", "content": "Be short."},)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("CREATE TABLE other (x)", "it is a SQLite database without a table sft_pairs"),
        ("CREATE TABLE sft_pairs (id, instruction)", "its table sft_pairs lacks response; it has id, instruction"),
    ],
)
def test_another_database_is_refused(tmp_path: Path, schema: str, reason: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        read_path(database(tmp_path / "old.db", schema))

    assert str(caught.value) == reason


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 200)

    with pytest.raises(UnreadableFileError, match=r"^SQLite cannot read it: "):
        read_path(path)
