"""Why a row that a night changed must be left as it is now: somebody has relied on it, or changed it, since."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from django.db import models

from maintenance.models import Proposal, RowChange
from memory.bulk import key_list
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.models import ExportedPair, PreferencePair, ReviewStatus, SftPair, TrainingPair
from training.models import PairUse

# Which column of the ledger and of a proposal names a pair of the model.
LINKS: Mapping[type[models.Model], str] = {SftPair: "sft_pair", PreferencePair: "preference_pair"}
# What an exported pair names its table.
CHANNELS: Mapping[type[models.Model], str] = {SftPair: "sft", PreferencePair: "preference"}
MERGED_INTO = "merged_into_id"

# Kind of the history record that holds a row's first state.
_ADDED = "+"


def conflicts(
    model: type[models.Model], changes: Sequence[RowChange], *, rows: Mapping[int, Mapping[str, Any]], using: str
) -> dict[int, str]:
    """Return why changes cannot be taken back, by the key of the change; those that can are not in it.

    `rows` holds the rows as they are now, by key, with all columns that the changes name; to be called with the rows
    locked. A fixed number of queries for each kind of reference, whatever the count.
    """
    keys = [change.row_id for change in changes]
    checks: list[Callable[[RowChange], str]] = [
        _gone(model, [key for key in keys if key not in rows], rows, using=using),
        _edited(model, keys, using=using),
        _changed_again(changes, using=using),
        _other_values(model, keys, rows, using=using),
        _missing_targets(model, changes, using=using),
        _standing(model, changes, using=using),
        _relied_on(model, [change.row_id for change in changes if change.before is None], rows, using=using),
    ]
    found = {change.pk: next(filter(None, (check(change) for check in checks)), "") for change in changes}
    return {pk: reason for pk, reason in found.items() if reason}


def stored_value(model: type[models.Model], column: str, value: Any) -> Any:
    """Return a value of the journal as the row holds it: times are kept as ISO 8601."""
    return _field(model, column).to_python(value)


def _gone(
    model: type[models.Model], missing: Sequence[int], rows: Mapping[int, Mapping[str, Any]], *, using: str
) -> Callable[[RowChange], str]:
    """Tell of rows that are not there, and of pairs in which file they are."""
    files: dict[int, str] = {}
    if missing and model in LINKS:
        away = ExportedPair.objects.using(using).away().filter(channel=CHANNELS[model])
        files = dict(away.filter(pair_id__in=key_list(missing, using=using)).values_list("pair_id", "file"))

    def reason(change: RowChange) -> str:
        if change.row_id in files:
            return f"is in the archive file {files[change.row_id]}"
        return "" if change.row_id in rows else "is gone"

    return reason


def _edited(model: type[models.Model], keys: Collection[int], *, using: str) -> Callable[[RowChange], str]:
    """Tell of the newest change by a person; extraction leaves records in the history, too."""
    if not issubclass(model, TrainingPair):
        return lambda change: ""
    by_person = (
        model.history.using(using)
        .filter(id__in=key_list(list(keys), using=using))
        .exclude(history_type=_ADDED)
        .exclude(history_change_reason=BY_EXTRACTION)
        .order_by("history_id")
        .values_list("id", "history_id", "history_date", "history_change_reason", "history_user__username")
    )
    newest = {row[0]: row[1:] for row in by_person}

    def reason(change: RowChange) -> str:
        if change.row_id not in newest:
            return ""
        history_id, date, words, name = newest[change.row_id]
        # A row that the night made itself has no earlier history.
        if change.before is not None and history_id <= change.history_id:
            return ""
        return f"edited by {name or 'a person'} on {date:%Y-%m-%d %H:%M} UTC" + (f" ({words})" if words else "")

    return reason


def _changed_again(changes: Sequence[RowChange], *, using: str) -> Callable[[RowChange], str]:
    """Tell of a later change that still stands: of the same columns, or of a row that was made."""
    found = (
        RowChange.objects.using(using)
        .filter(
            table=changes[0].table,
            row_id__in=key_list([change.row_id for change in changes], using=using),
            pk__gt=min(change.pk for change in changes),
            undone_at=None,
        )
        .order_by("pk")
        .values_list("row_id", "pk", "run_id", "step", "after")
    )
    later: dict[int, list[tuple[int, int, str, set[str]]]] = {}
    for row_id, pk, run, step, after in found:
        later.setdefault(row_id, []).append((pk, run, step, set(after)))

    def reason(change: RowChange) -> str:
        for pk, run, step, columns in later.get(change.row_id, ()):
            if pk > change.pk and (change.before is None or columns & set(change.before)):
                return f"changed again by {step} of night {run}"
        return ""

    return reason


def _other_values(
    model: type[models.Model], keys: Collection[int], rows: Mapping[int, Mapping[str, Any]], *, using: str
) -> Callable[[RowChange], str]:
    """Tell of columns that no longer hold what the night wrote."""
    trained = _last_uses(model, keys, using=using)

    def reason(change: RowChange) -> str:
        row = rows[change.row_id]
        others = [name for name, value in change.after.items() if row[name] != stored_value(model, name, value)]
        if not others:
            return ""
        if row.get("is_used") and "is_used" in others and change.row_id in trained:
            return f"trained since by run {trained[change.row_id]}"
        return f"{', '.join(others)}: changed since"

    return reason


def _missing_targets(
    model: type[models.Model], changes: Sequence[RowChange], *, using: str
) -> Callable[[RowChange], str]:
    """Tell of rows that a change would point at again, and that are gone or merged away themselves."""
    links = {field.attname: field for field in model._meta.concrete_fields if isinstance(field, models.ForeignKey)}
    wanted: dict[str, set[int]] = {}
    for change in changes:
        for name, value in (change.before or {}).items():
            if name in links and value is not None:
                wanted.setdefault(name, set()).add(value)
    there: dict[str, set[int]] = {}
    for name, keys in wanted.items():
        targets = links[name].related_model._default_manager.using(using)
        there[name] = set(targets.filter(pk__in=key_list(sorted(keys), using=using)).values_list("pk", flat=True))
    merged_into: dict[int, int] = {}
    if MERGED_INTO in there:
        survivors = model._default_manager.using(using).filter(
            pk__in=key_list(sorted(there[MERGED_INTO]), using=using), merged_into__isnull=False
        )
        merged_into = dict(survivors.values_list("pk", MERGED_INTO))

    def reason(change: RowChange) -> str:
        before = change.before or {}
        for name, targets in there.items():
            if before.get(name) is not None and before[name] not in targets:
                return f"{name}: {before[name]}, as it was before, is gone"
        survivor = before.get(MERGED_INTO)
        if survivor in merged_into:
            return f"pair {survivor}, which stood for it before, is merged into pair {merged_into[survivor]} itself"
        return ""

    return reason


def _standing(model: type[models.Model], changes: Sequence[RowChange], *, using: str) -> Callable[[RowChange], str]:
    """Tell of pairs that would be merged again and have come to stand for others."""
    again = {change.row_id for change in changes if (change.before or {}).get(MERGED_INTO) is not None}
    found: dict[int, int] = {}
    if again and model in LINKS:
        members = model._default_manager.using(using).filter(merged_into__in=key_list(sorted(again), using=using))
        found = dict(members.order_by("-pk").values_list(MERGED_INTO, "pk"))

    def reason(change: RowChange) -> str:
        is_again = change.row_id in found and (change.before or {}).get(MERGED_INTO) is not None
        return f"stands for pair {found[change.row_id]}" if is_again else ""

    return reason


def _relied_on(
    model: type[models.Model], made: Sequence[int], rows: Mapping[int, Mapping[str, Any]], *, using: str
) -> Callable[[RowChange], str]:
    """Tell of rows made by the night that people or training have come to rely on."""
    if not made or (model not in LINKS and model is not Proposal):
        return lambda change: ""
    reasons = _decided(model, made, using=using)
    if model in LINKS:
        merged = model._default_manager.using(using).filter(merged_into__in=key_list(made, using=using))
        reasons |= {into: f"stands for pair {pk}" for into, pk in merged.values_list("merged_into_id", "pk")}
        reasons |= {key: "is used" for key in made if key in rows and rows[key]["is_used"]}
        reasons |= {key: f"trained by run {run}" for key, run in _last_uses(model, made, using=using).items()}
        reasons |= {
            key: f"is {rows[key]['review_status']}"
            for key in made
            if key in rows and rows[key]["review_status"] != ReviewStatus.PENDING
        }
    return lambda change: reasons.get(change.row_id, "") if change.before is None else ""


def _decided(model: type[models.Model], keys: Sequence[int], *, using: str) -> dict[int, str]:
    """Return what a person decided about proposals, by their own keys or by those of the pairs they name."""
    links = ("pk",) if model is Proposal else (LINKS[model], f"other_{LINKS[model]}")
    reasons: dict[int, str] = {}
    for link in links:
        decided = Proposal.objects.using(using).filter(**{f"{link}__in": key_list(keys, using=using)})
        decided = decided.exclude(status=Proposal.Status.OPEN)
        for key, pk, status, name in decided.values_list(link, "pk", "status", "decided_by__username"):
            reasons[key] = f"proposal {pk} {status} by {name or 'a person'}"
    return reasons


def _last_uses(model: type[models.Model], keys: Collection[int], *, using: str) -> dict[int, int]:
    """Return the newest run in the ledger of each pair that has one."""
    if model not in LINKS:
        return {}
    link = LINKS[model]
    uses = PairUse.objects.using(using).filter(**{f"{link}__in": key_list(list(keys), using=using)})
    return dict(uses.order_by("pk").values_list(f"{link}_id", "run_id"))


def _field(model: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if field.attname == column)
