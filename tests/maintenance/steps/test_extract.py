"""The extraction of a night: part of the memory, and of the journal, or of neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import models

from maintenance.journal import note_created
from maintenance.models import MaintenanceRun, RowChange
from maintenance.night import Night
from maintenance.steps import extract as step
from maintenance.steps.extract import extract
from maintenance.undo import undo
from memory.extraction.batch import COLLAPSED
from memory.models import Conversation, Message, PreferencePair, ReplayEntry, SftPair
from memory.switches import turn
from tests.maintenance import nights
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder, refuse_to_load
from tests.memory.extraction.talks import answer, asked, rate, say, think

pytestmark = pytest.mark.django_db


def night(**config: Any) -> Night:
    return replace(nights.night("extract", **config), load=refuse_to_load)


def noted() -> dict[str, list[int]]:
    """Return the keys of the rows that the journal says were made, by table."""
    found: dict[str, list[int]] = {}
    for table, key in RowChange.objects.filter(before__isnull=True).order_by("row_id").values_list("table", "row_id"):
        found.setdefault(table, []).append(key)
    return found


def keys() -> dict[str, list[int]]:
    tables: tuple[type[models.Model], ...] = (SftPair, PreferencePair, ReplayEntry)
    found = {table._meta.label_lower: sorted(table._default_manager.values_list("pk", flat=True)) for table in tables}
    return {table: stored for table, stored in found.items() if stored}


def talk() -> None:
    """Store what gives rows of all kinds: a memory pair each, a comparison within a turn, one across conversations."""
    user = asked()
    first = rate(user, "Pixel.", 1.0)
    rate(user, "Biscuit, as far as I remember.", 0.0)
    answer(say(user.conversation, "user", "And my cat?", first), "Minka.")
    think(user, "They have pets.")
    for name, content, reward in (("c2", "Noon.", 1.0), ("c3", "Midnight, or so it is said.", 0.0)):
        rate(asked("When is lunch?", name), content, reward)


def test_everything_that_is_made_is_counted_and_in_the_journal() -> None:
    talk()
    embedder = FakeEmbedder()

    outcome = extract(replace(night(), load=lambda: embedder))

    assert embedder.encoded
    assert outcome.counts == {
        "conversations": 3,
        "unchanged": 0,
        "sft_created": 5,
        "preference_created": 2,
        "replay_created": 5,
        "dropped": 1,
    }
    assert outcome.details == {"dropped": {"introspection_excluded": 1}}
    assert set(PreferencePair.objects.values_list("source", flat=True)) == {"rating", "replay"}
    assert noted() == keys()
    assert set(RowChange.objects.values_list("step", "before")) == {("extract", None)}


def test_the_next_night_reads_nothing_makes_nothing_and_notes_nothing() -> None:
    talk()
    extract(replace(night(), load=FakeEmbedder))
    before = noted()

    outcome = extract(night())

    assert {name: count for name, count in outcome.counts.items() if count} == {"unchanged": 3}
    assert noted() == before


def test_the_next_night_reads_what_changed_alone() -> None:
    talk()
    extract(replace(night(), load=FakeEmbedder))
    rate(asked("Where is Pixel?", "c4"), "In the garden.", 1.0)
    Message.objects.filter(content="Noon.").update(content="At noon.")

    outcome = extract(night())

    assert {name: count for name, count in outcome.counts.items() if count} == {
        "conversations": 2,
        "unchanged": 2,
        "sft_created": 1,
        "replay_created": 1,
    }


def test_a_config_that_was_changed_lets_a_night_read_all() -> None:
    talk()
    extract(replace(night(), load=FakeEmbedder))

    outcome = extract(night(extract={"include_context": True}))

    assert (outcome.counts["conversations"], outcome.counts["unchanged"]) == (3, 0)
    assert extract(night(extract={"include_context": True})).counts["unchanged"] == 3


def test_ratings_of_two_days_are_compared_though_one_of_their_conversations_is_unchanged() -> None:
    rate(asked("When is lunch?", "c1"), "Noon.", 1.0)
    extract(night())
    rate(asked("When is lunch?", "c2"), "Midnight, or so it is said.", 0.0)

    outcome = extract(replace(night(), load=FakeEmbedder))

    assert (outcome.counts["conversations"], outcome.counts["preference_created"]) == (1, 1)


def test_what_was_there_before_is_not_noted() -> None:
    pair, preference, entry = rows.sft_pair(), rows.preference_pair(), rows.replay_entry()
    talk()

    extract(replace(night(), load=FakeEmbedder))

    made = noted()
    assert pair.pk not in made["memory.sftpair"]
    assert preference.pk not in made["memory.preferencepair"]
    assert entry.pk not in made["memory.replayentry"]


def test_a_draft_that_a_stored_pair_stands_for_is_written_into_the_journal() -> None:
    user = asked()
    answer(user, "Pixel.")
    extract(night())
    pair = SftPair.objects.get()
    draft = answer(user, "Pixel.", is_active_branch=False)
    later = night()

    extract(later)

    changed = SftPair.objects.get().metadata
    assert changed == {COLLAPSED: [{"message": draft.pk, "reason": "exact_duplicate", "similarity": 1.0}]}
    entry = RowChange.objects.get(run=later.run)
    assert (entry.table, entry.row_id) == ("memory.sftpair", pair.pk)
    assert (entry.before, entry.after) == ({"metadata": {}}, {"metadata": changed})


def test_an_undone_night_leaves_the_tables_as_they_were() -> None:
    user = asked()
    answer(user, "Pixel.")
    extract(night())
    answer(user, "Pixel.", is_active_branch=False)
    rate(asked("When is lunch?", "c2"), "Noon.", 1.0)
    before = list(SftPair.objects.values())
    later = night()
    extract(later)
    assert SftPair.objects.count() == 2

    report = undo(later.run, artifacts=Path("/nowhere"), using="default")

    assert report.refused == []
    assert list(SftPair.objects.values()) == before
    assert not ReplayEntry.objects.exists()


@pytest.mark.parametrize("kind", ["pair", "preference", "entry"])
def test_what_was_undone_is_made_by_the_next_night(kind: str) -> None:
    user = asked()
    if kind == "entry":
        think(user, "They have a dog.")
    else:
        answer(user, "Pixel.", original_content="Biscuit." if kind == "preference" else "")
    if kind == "preference":
        extract(night())
        PreferencePair.objects.all().delete()
        Conversation.objects.note_changed()
    first = night()
    made = extract(first).counts
    assert sum(made[f"{name}_created"] for name in ("sft", "preference", "replay")) == 1

    undo(first.run, artifacts=Path("/nowhere"), using="default")

    assert extract(night()).counts == made


def test_what_an_undone_pair_stood_for_is_open_again() -> None:
    turn("INTROSPECTION_IN_SFT", on=True)
    think(asked(name="c1"), "They have a dog.")
    extract(night())
    think(asked("And my cat?", name="c2"), "They have a cat.")
    second = night()
    extract(replace(second, load=lambda: FakeEmbedder({"They have a cat.": 90.0})))
    think(asked("And my hen?", name="c3"), "They have a cat.")
    extract(replace(night(), load=lambda: FakeEmbedder({"They have a cat.": 90.0})))
    pair = SftPair.objects.get(response="They have a cat.")
    assert pair.metadata[COLLAPSED]

    undo(MaintenanceRun.objects.order_by("-pk")[0], artifacts=Path("/nowhere"), using="default")
    report = undo(second.run, artifacts=Path("/nowhere"), using="default")

    assert report.refused == []
    outcome = extract(replace(night(), load=lambda: FakeEmbedder({"They have a cat.": 90.0})))
    assert (outcome.counts["conversations"], outcome.counts["unchanged"]) == (2, 1)
    assert SftPair.objects.get(response="They have a cat.").metadata == pair.metadata


def test_a_batch_and_its_journal_are_stored_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        rate(asked(name=f"c{number}"), f"Pixel {number}.", 0.75)
    monkeypatch.setattr(step, "_BATCH_MESSAGES", 1)
    calls = 0

    def dying(night: Night, model: type[models.Model], made: list[int]) -> None:
        nonlocal calls
        calls += 1
        # The first batch notes pairs and entries; the second dies between its pairs and its entries.
        if calls == 4:
            raise SystemExit("killed")
        note_created(night, model, made)

    monkeypatch.setattr(step, "note_created", dying)
    with pytest.raises(SystemExit):
        extract(night())
    assert (SftPair.objects.count(), ReplayEntry.objects.count()) == (1, 1)
    assert noted() == keys()

    monkeypatch.setattr(step, "note_created", note_created)
    assert extract(night()).counts["sft_created"] == 2
    assert noted() == keys()


@pytest.mark.parametrize(("include_context", "messages"), [(False, 0), (True, 2)])
def test_the_config_says_whether_the_dialogue_before_is_kept(include_context: bool, messages: int) -> None:
    user = asked()
    answer(say(user.conversation, "user", "And my cat?", answer(user, "Pixel.")), "Minka.")

    extract(night(extract={"include_context": include_context}))

    assert len(SftPair.objects.get(response="Minka.").context) == messages


def test_whoever_watches_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        answer(asked(name=f"c{number}"), f"Pixel {number}.")
    monkeypatch.setattr(step, "_BATCH_MESSAGES", 1)
    shown: list[tuple[str, float]] = []

    extract(replace(night(), progress=lambda text, share: shown.append((text, share))))

    assert shown == [("1 of 2 conversations extracted", 0.5), ("2 of 2 conversations extracted", 1.0)]
