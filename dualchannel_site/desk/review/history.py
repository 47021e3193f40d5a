"""What has happened to a pair: decisions and edits, runs that used it, merges, what nights did; newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Q
from django.db.models.functions import Substr
from django.urls import reverse

from maintenance.models import RowChange
from memory.bulk import key_list
from memory.curation.merging import merge_reason
from memory.curation.undoing import undone_record
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import AS_FOUND
from memory.models import PreferencePair, SftPair
from training.models import PairUse, TrainingRun

# Entries in all, and of each kind that are looked at.
MOST_ENTRIES = 50
# Characters of a text that an entry shows, and those that are read to find where two versions part.
_SHOWN = 80
_READ = 2_000
# Pairs that an entry about a merge names.
_NAMED = 5

_Pair = SftPair | PreferencePair
_TEXTS: Mapping[type[_Pair], tuple[str, ...]] = {
    SftPair: ("instruction", "response"),
    PreferencePair: ("chosen", "rejected"),
}
# The channels as the ledger and the runs name them.
_CHANNELS: Mapping[type[_Pair], str] = {SftPair: "sft", PreferencePair: "preference"}
# Columns of which an entry tells the values, in the order of the entry.
_SCORES = ("review_status", "category", "confidence", "reward_intensity", "margin", "sampling_weight")


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened to a pair.

    Attributes:
        when: the moment.
        who: the person, "extraction", "training", or the night; empty where nobody is on record.
        what: what happened, in a few words.
        detail: more about it, such as the words that changed; may be empty.
        link: the address of the page about it; may be empty.
        is_decision: whether a person changed the pair by it, who may take it back.

    """

    when: datetime
    who: str
    what: str
    detail: str = ""
    link: str = ""
    is_decision: bool = False


def pair_history(pair: _Pair) -> list[HistoryEntry]:
    """Return the newest `MOST_ENTRIES` things that happened to `pair`; seven queries at most, whatever there was."""
    found = [*_records(pair), *_uses(pair), *_merges(pair), *_changes_by_night(pair)]
    return sorted(found, key=lambda entry: entry.when, reverse=True)[:MOST_ENTRIES]


def _records(pair: _Pair) -> Iterator[HistoryEntry]:
    """Yield what people decided and extraction renewed: one query."""
    texts = _TEXTS[type(pair)]
    scores = [name for name in _SCORES if any(field.name == name for field in pair._meta.concrete_fields)]
    # Whole texts may be long: their beginnings say what changed, nearly always.
    beginnings = {f"{name}_read": Substr(name, 1, _READ) for name in texts}
    stamp = ("history_id", "history_type", "history_change_reason", "history_date", "history_user__username")
    rows = (
        type(pair)
        .history.filter(id=pair.pk)
        .order_by("-history_id")
        .annotate(**beginnings)
        .values(*stamp, *scores, "content_hash", *beginnings)[: MOST_ENTRIES + 1]
    )
    # One more than is shown, to compare the last one with.
    states = list(rows)
    names = {state["history_id"]: _what(state) for state in states}
    for place, state in enumerate(states[:MOST_ENTRIES]):
        before = states[place + 1] if place + 1 < len(states) else None
        if state["history_change_reason"] == AS_FOUND:
            # Training and nights tell of themselves.
            continue
        undone = undone_record(state["history_change_reason"])
        yield HistoryEntry(
            when=state["history_date"],
            who=_who(state),
            what=f"undone: {names.get(undone, 'an earlier decision')}" if undone is not None else _what(state),
            detail="; ".join(_differences(before, state, texts, scores)) if before is not None else "",
            is_decision=before is not None and undone is None and state["history_change_reason"] != BY_EXTRACTION,
        )


def _who(state: Mapping[str, Any]) -> str:
    if state["history_change_reason"] == BY_EXTRACTION:
        return "extraction"
    return state["history_user__username"] or ""


def _what(state: Mapping[str, Any]) -> str:
    if state["history_type"] == "+":
        return state["history_change_reason"] or "added"
    return state["history_change_reason"] or "edited"


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], texts: Sequence[str], scores: Sequence[str]
) -> Iterator[str]:
    for name in texts:
        old, new = before[f"{name}_read"], after[f"{name}_read"]
        if old != new:
            yield f"{name}: “{_around(old, new)}” → “{_around(new, old)}”"
    for name in scores:
        if before[name] != after[name]:
            yield f"{name.replace('_', ' ')}: {before[name]!s} → {after[name]!s}"


def _around(text: str, other: str) -> str:
    """Return the part of `text` where it begins to differ from `other`."""
    same = next((place for place, both in enumerate(zip(text, other, strict=False)) if both[0] != both[1]), 0)
    start = text.rfind(" ", 0, max(same - _SHOWN // 4, 0)) + 1
    part = text[start : start + _SHOWN]
    return f"{'…' * (start > 0)}{part}{'…' * (start + _SHOWN < len(text))}"


def _uses(pair: _Pair) -> Iterator[HistoryEntry]:
    """Yield the runs that used the pair: two queries."""
    channel = _CHANNELS[type(pair)]
    uses = list(
        PairUse.objects.filter(**{f"{channel}_pair": pair})
        .order_by()
        .values("run")
        .annotate(
            times=Count("pk"),
            of_this_text=Count("pk", filter=Q(content_hash=pair.content_hash)),
            last=Max("used_at"),
            epoch=Max("epoch"),
        )
        .order_by("-run")[:MOST_ENTRIES]
    )
    if not uses:
        return
    runs = TrainingRun.objects.filter(pk__in=[use["run"] for use in uses]).order_by()
    ends = {pk: end for pk, *end in runs.values_list("pk", "status", f"evaluation__did_not_stick__{channel}")}
    for use in uses:
        status, unlearned = ends[use["run"]]
        details = [
            "once" if use["times"] == 1 else f"{use['times']} times",
            f"last in epoch {use['epoch']}",
            *(["the run succeeded"] if status == TrainingRun.Status.SUCCEEDED else [f"the run is {status}"]),
            *([] if use["of_this_text"] else ["with the text as it was then"]),
        ]
        yield HistoryEntry(
            when=use["last"],
            who="training",
            what=f"used by run {use['run']}{', did not stick' * (pair.pk in (unlearned or ()))}",
            detail=", ".join(details),
            link=reverse("admin:training_trainingrun_change", args=[use["run"]]),
        )


def _merges(pair: _Pair) -> Iterator[HistoryEntry]:
    """Yield the merges by which other pairs came to be stood for by this one: three queries."""
    # In no order: with one, PostgreSQL may walk the whole table by key.
    members = list(pair.merged_pairs.order_by().values_list("pk", flat=True)[:MOST_ENTRIES])
    if not members:
        return
    keys = key_list(members, using=pair._state.db or "default")
    decided = type(pair).history.filter(id__in=keys, history_change_reason=merge_reason(pair.pk)).order_by("id")
    by_person: dict[tuple[datetime, str], list[int]] = {}
    for key, when, name in decided.values_list("id", "history_date", "history_user__username"):
        by_person.setdefault((when, name or ""), []).append(key)
    for (when, name), merged in by_person.items():
        yield HistoryEntry(when, name, f"{_pairs(merged)} merged into this one", link=_change_page(pair, merged[0]))
    changes = RowChange.objects.filter(table=pair._meta.label_lower, row_id__in=keys, undone_at=None).order_by("row_id")
    by_night: dict[int, tuple[datetime, list[int]]] = {}
    for key, run, when, after in changes.values_list("row_id", "run", "changed_at", "after"):
        if after.get("merged_into_id") == pair.pk:
            by_night.setdefault(run, (when, []))[1].append(key)
    for run, (when, merged) in by_night.items():
        yield HistoryEntry(when, f"night {run}", f"{_pairs(merged)} merged into this one", link=_night_page(run))


def _changes_by_night(pair: _Pair) -> Iterator[HistoryEntry]:
    """Yield what nights did to the pair itself: one query."""
    changes = RowChange.objects.filter(table=pair._meta.label_lower, row_id=pair.pk).order_by("-pk")
    columns = ("run", "step", "before", "after", "changed_at", "undone_at")
    for run, step, before, after, when, undone in changes.values_list(*columns)[:MOST_ENTRIES]:
        yield HistoryEntry(
            when=when,
            who=f"night {run}",
            what=_done_by_night(before, after),
            detail=f"by its step {step}{', undone since' * (undone is not None)}",
            link=_night_page(run),
        )


def _done_by_night(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    if before is None:
        return "made"
    if after.get("merged_into_id") is not None:
        return f"merged into pair {after['merged_into_id']}"
    if "merged_into_id" in after:
        return "no longer merged into another pair"
    if after.get("archived_at") is not None:
        return "archived"
    if after.get("is_used") is False:
        return "re-emitted"
    names = ", ".join(name.removesuffix("_id").replace("_", " ") for name in sorted(after))
    return f"changed: {names}" if names else "changed"


def _pairs(keys: Sequence[int]) -> str:
    shown = ", ".join(map(str, keys[:_NAMED]))
    more = len(keys) - _NAMED
    return f"pair{'s' * (len(keys) > 1)} {shown}{f' and {more} more' if more > 0 else ''}"


def _change_page(pair: _Pair, key: int) -> str:
    return reverse(f"admin:memory_{pair._meta.model_name}_change", args=[key])


def _night_page(run: int) -> str:
    return reverse("admin:maintenance_maintenancerun_change", args=[run])
