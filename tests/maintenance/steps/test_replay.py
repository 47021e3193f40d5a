"""The replay buffer is kept to its size; nothing is lost, and what is worth it comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintenance.journal import change_rows
from maintenance.models import RowChange
from maintenance.night import Night
from maintenance.replay_buffer import kept
from maintenance.steps import replay as step
from maintenance.steps.replay import replay
from maintenance.undo import undo
from memory.models import PreferencePair, ReplayEntry
from tests.maintenance import nights
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import asked, rate, run

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)


def night(size: int = 2, **fields: Any) -> Night:
    return nights.night("replay", now=NOW, replay={"size": size}, **fields)


def entry(reward: float = 1.0, *, days: float = 0, **fields: Any) -> ReplayEntry:
    return rows.replay_entry(reward_intensity=reward, created_at=NOW - timedelta(days=days), **fields)


def buffered() -> set[int]:
    return set(ReplayEntry.objects.buffered().values_list("pk", flat=True))


def test_the_entries_of_the_lowest_priority_have_to_make_room() -> None:
    extreme, neutral, old, poor = entry(1.0), entry(0.5), entry(1.0, days=900), entry(0.0, days=10)

    outcome = replay(night())

    assert outcome.counts == {"evicted": 2, "returned": 0, "kept": 2}
    assert buffered() == {extreme.pk, poor.pk}
    assert set(ReplayEntry.objects.evicted()) == {neutral, old}
    assert set(ReplayEntry.objects.evicted().values_list("evicted_at", flat=True)) == {NOW}
    assert ReplayEntry.objects.count() == 4
    assert set(RowChange.objects.values_list("table", "row_id", "step")) == {
        ("memory.replayentry", neutral.pk, "replay"),
        ("memory.replayentry", old.pk, "replay"),
    }


def test_a_second_night_moves_nothing() -> None:
    for number in range(5):
        entry(0.5, days=number)
    replay(night())
    assert replay(night()).counts == {"evicted": 0, "returned": 0, "kept": 2}
    assert RowChange.objects.count() == 3


def test_a_new_entry_takes_the_place_of_the_least() -> None:
    kept, least = entry(1.0), entry(0.5)
    replay(night())
    new = entry(0.0)
    assert replay(night()).counts == {"evicted": 1, "returned": 0, "kept": 2}
    assert buffered() == {kept.pk, new.pk}
    assert least in ReplayEntry.objects.evicted()


def test_an_entry_for_which_there_is_room_again_returns() -> None:
    entries = [entry(reward) for reward in (1.0, 0.9, 0.6)]
    replay(night(1))
    assert replay(night(2)).counts == {"evicted": 0, "returned": 1, "kept": 2}
    assert buffered() == {entries[0].pk, entries[1].pk}


def test_introspection_that_was_flagged_is_not_in_the_buffer() -> None:
    thought: dict[str, Any] = {"kind": "introspection", "internal_generated": True}
    kept, flagged = entry(**thought), entry(**thought, safety_flags=["private"])
    answer = entry(safety_flags=["check"])
    replay(night(9))
    assert buffered() == {kept.pk, answer.pk}
    ReplayEntry.objects.filter(pk=flagged.pk).update(safety_flags=[])
    assert replay(night(9)).counts["returned"] == 1


def test_without_consent_there_is_no_place() -> None:
    refused, allowed = (
        entry(message=rows.message(rows.conversation(name, training_allowed=allowed)))
        for name, allowed in (("c1", False), ("c2", True))
    )
    gone = entry(message=None)
    assert replay(night(1)).counts["kept"] == 1
    assert refused.pk not in buffered()
    replay(night(9))
    assert buffered() == {allowed.pk, gone.pk}


def test_an_undone_night_puts_every_entry_back() -> None:
    for reward in (1.0, 0.5, 0.6):
        entry(reward)
    first = night(1)
    replay(first)
    assert undo(first.run, artifacts=Path("/nowhere"), using="default").refused == []
    assert len(buffered()) == 3


def test_a_killed_night_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        entry(0.5 + number / 10)
    monkeypatch.setattr(step, "ROWS_PER_TRANSACTION", 2)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise SystemExit("killed")
        return change_rows(*arguments, **named)

    monkeypatch.setattr(step, "change_rows", dying)
    with pytest.raises(SystemExit):
        replay(night())
    assert len(buffered()) == 4
    monkeypatch.setattr(step, "change_rows", change_rows)
    assert replay(night()).counts == {"evicted": 2, "returned": 0, "kept": 2}


def test_an_entry_that_went_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    entry(1.0)
    gone, evicted = entry(0.5), entry(0.6)

    def belonging(*arguments: Any, **named: Any) -> Any:
        found = kept(*arguments, **named)
        gone.delete()
        return found

    monkeypatch.setattr(step, "kept", belonging)
    assert replay(night(1)).counts["evicted"] == 1
    assert set(ReplayEntry.objects.evicted()) == {evicted}


def test_an_evicted_entry_is_neither_compared_nor_made_again() -> None:
    for name, content, reward in (("c1", "Pixel.", 1.0), ("c2", "Biscuit, I believe.", 0.0)):
        rate(asked(name=name), content, reward)
    assert run(FakeEmbedder()).preference_pairs_created == 1
    PreferencePair.objects.all().delete()
    replay(night(1))
    again = run(FakeEmbedder())
    assert (again.preference_pairs_created, again.replay_entries_created) == (0, 0)
    replay(night(2))
    assert run(FakeEmbedder()).preference_pairs_created == 1


def test_whoever_watches_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        entry()
    monkeypatch.setattr(step, "ROWS_PER_TRANSACTION", 2)
    shown: list[tuple[str, float]] = []
    replay(replace(night(1), progress=lambda text, share: shown.append((text, share))))
    assert shown == [("2 of 3 replay entries moved", 2 / 3), ("3 of 3 replay entries moved", 1.0)]
