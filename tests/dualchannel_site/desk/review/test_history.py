"""What a page tells of a pair's past."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from django.utils import timezone

from dualchannel_site.desk.review.history import MOST_ENTRIES, pair_history
from maintenance.models import MaintenanceRun, RowChange
from memory import curation
from memory.history import keep_originals, record
from memory.models import PreferencePair, SftPair
from tests.dualchannel_site.desk.review.people import curator
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}


def told(pair: SftPair | PreferencePair) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.what, entry.detail) for entry in pair_history(pair)]


def train(pair: SftPair | PreferencePair, **fields: Any) -> TrainingRun:
    run = TrainingRun.objects.create(**{"config_path": "run.yaml", "config": {}, "status": "succeeded", **fields})
    use(run, pair)
    return run


def changed(old: str, new: str) -> str:
    return f"response: “{old}” → “{new}”"


def use(run: TrainingRun, pair: SftPair | PreferencePair, **fields: Any) -> None:
    owner = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    values = {owner: pair, "step": 1, "epoch": 0, "weight": 1.0, "content_hash": pair.content_hash, **fields}
    PairUse.objects.create(run=run, **values)


def night(pair: SftPair | PreferencePair, step: str, after: dict[str, Any], **fields: Any) -> MaintenanceRun:
    run = MaintenanceRun.objects.create(config_path="night.yaml", config={})
    values = {"before": dict.fromkeys(after), "after": after, **fields}
    RowChange.objects.create(run=run, step=step, table=pair._meta.label_lower, row_id=pair.pk, **values)
    return run


def test_decisions_tell_who_and_what_changed_newest_first() -> None:
    pair, user = rows.sft_pair(**USED), curator()
    curation.reemit(pairs=SftPair.objects.all(), user=user, reason="new name")
    curation.edit(pair=pair, field="response", text="Biscuit.", user=user)
    curation.undo(pair=pair, user=user)
    assert told(pair) == [
        ("curator", "undone: edited response", f"{changed('Biscuit.', 'Pixel.')}; review status: approved → pending"),
        ("curator", "edited response", f"{changed('Pixel.', 'Biscuit.')}; review status: pending → approved"),
        ("curator", "re-emitted: new name", ""),
        ("", "as first stored", ""),
    ]


def test_of_a_long_text_the_place_where_it_changed_is_told() -> None:
    words = " ".join(f"word{number}" for number in range(100))
    pair = rows.sft_pair(response=words)
    curation.edit(pair=pair, field="response", text=words.replace("word50 ", "changed "), user=None)
    detail = pair_history(pair)[0].detail.split(";")[0]
    assert "word50" in detail
    assert "changed" in detail
    assert len(detail) < 250


def test_what_extraction_renewed_is_told() -> None:
    pair = rows.sft_pair()
    keep_originals(SftPair.objects.all())
    SftPair.objects.update(reward_intensity=1.0)
    record(SftPair.objects.all(), kind="~", user=None, reason="brought up to date with its message")
    assert told(pair)[0] == ("extraction", "brought up to date with its message", "reward intensity: 0.5 → 1.0")


def test_runs_tell_how_often_they_used_the_pair_and_whether_it_stuck() -> None:
    pair = rows.sft_pair()
    first = train(pair, evaluation={"did_not_stick": {"sft": [pair.pk], "preference": []}})
    use(first, pair, step=2, epoch=1)
    second = train(pair, evaluation={"did_not_stick": {"sft": [pair.pk + 1], "preference": [pair.pk]}})
    third = train(pair, status="failed", error="no room")
    PairUse.objects.filter(run=third).update(content_hash="0" * 64)
    failed = "once, last in epoch 0, the run is failed, with the text as it was then"
    assert told(pair) == [
        ("training", f"used by run {third.pk}", failed),
        ("training", f"used by run {second.pk}", "once, last in epoch 0, the run succeeded"),
        ("training", f"used by run {first.pk}, did not stick", "2 times, last in epoch 1, the run succeeded"),
    ]


def test_runs_of_preferences_are_told_too() -> None:
    pair = rows.preference_pair()
    run = train(pair, evaluation={"did_not_stick": {"sft": [], "preference": [pair.pk]}})
    assert told(pair)[0][1] == f"used by run {run.pk}, did not stick"


def test_merges_tell_who_merged_what() -> None:
    pair, first, second, third, other = [rows.sft_pair() for _ in range(5)]
    curation.merge(pairs=SftPair.objects.filter(pk__in=[first.pk, second.pk]), into=pair, user=curator())
    SftPair.objects.filter(pk=third.pk).update(merged_into=pair)
    night(third, "reemit", {"is_used": False})
    run = night(third, "merge", {"merged_into_id": pair.pk})
    night(other, "merge", {"merged_into_id": first.pk})
    assert told(pair) == [
        (f"night {run.pk}", f"pair {third.pk} merged into this one", ""),
        ("curator", f"pairs {first.pk}, {second.pk} merged into this one", ""),
    ]
    assert told(first)[0] == ("curator", f"merged into {pair.pk}", "")
    assert told(third)[0][:2] == (f"night {run.pk}", f"merged into pair {pair.pk}")


@pytest.mark.parametrize(
    ("step", "after", "fields", "what", "detail"),
    [
        ("retire", {"archived_at": "2026-05-01T00:00:00+00:00"}, {}, "archived", "by its step retire"),
        ("reemit", {"is_used": False}, {}, "re-emitted", "by its step reemit"),
        ("extract", {}, {"before": None}, "made", "by its step extract"),
        ("merge", {"confidence": 1.0, "metadata": {}}, {}, "changed: confidence, metadata", "by its step merge"),
        ("merge", {"merged_into_id": None}, {}, "no longer merged into another pair", "by its step merge"),
        (
            "reemit",
            {"is_used": False},
            {"undone_at": timezone.now()},
            "re-emitted",
            "by its step reemit, undone since",
        ),
    ],
)
def test_nights_tell_what_they_did(
    step: str, after: dict[str, Any], fields: dict[str, Any], what: str, detail: str
) -> None:
    pair = rows.sft_pair()
    run = night(pair, step, after, **fields)
    night(rows.sft_pair(), step, after, **fields)
    RowChange.objects.create(run=run, step=step, table="memory.preferencepair", row_id=pair.pk, before={}, after={})
    assert told(pair) == [(f"night {run.pk}", what, detail)]


def test_what_a_person_found_is_told_by_those_who_did_it() -> None:
    pair, user = rows.sft_pair(), curator()
    curation.approve(pairs=SftPair.objects.all(), user=user)
    SftPair.objects.update(**USED)
    curation.reject(pairs=SftPair.objects.all(), user=user)
    assert [what for _, what, _ in told(pair)] == ["rejected", "approved", "as first stored"]


def test_links_lead_to_the_runs_the_nights_and_the_merged_pair() -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    train(pair)
    night(pair, "reemit", {"is_used": False})
    curation.merge(pairs=SftPair.objects.filter(pk=other.pk), into=pair, user=None)
    links = [entry.link for entry in pair_history(pair)]
    names = {resolve(link).url_name for link in links if link}
    assert names == {"training_trainingrun_change", "maintenance_maintenancerun_change", "memory_sftpair_change"}


def test_a_pair_without_a_past_has_none() -> None:
    assert pair_history(rows.sft_pair()) == []


def test_a_long_past_is_cut_at_its_older_end_in_the_same_number_of_queries() -> None:
    pair = rows.sft_pair()
    rows.sft_pair(merged_into=pair)
    train(pair)
    night(pair, "reemit", {"is_used": False})
    curation.approve(pairs=SftPair.objects.filter(pk=pair.pk), user=None)
    with CaptureQueriesContext(connection) as few:
        pair_history(pair)
    for _ in range(MOST_ENTRIES):
        rows.sft_pair(merged_into=pair)
        train(pair)
        night(pair, "reemit", {"is_used": False})
        for decide in (curation.reject, curation.approve):
            decide(pairs=SftPair.objects.filter(pk=pair.pk), user=None)
    with CaptureQueriesContext(connection) as many:
        found = pair_history(pair)
    assert len(few) == len(many) == 7
    assert len(found) == MOST_ENTRIES
    assert [entry.when for entry in found] == sorted((entry.when for entry in found), reverse=True)
    assert all(entry.what != "as first stored" for entry in found)
