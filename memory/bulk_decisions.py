"""One decision for all pairs of a filter: counted first, done in slices, undone where nobody has changed them since.

Each slice is a transaction of its own, so that another writer waits for a slice at most, and a decision that was cut
off in the middle goes on where it stopped. What the pairs were before is kept beside the decision.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, QuerySet, Subquery, Sum
from django.utils import timezone

from memory.bulk import insert_rows, key_list
from memory.curation import UNARCHIVED, decisions
from memory.curation.decisions import Decision, change
from memory.curation.undoing import taken_back
from memory.history import is_on_record
from memory.models import BulkChange, BulkDecision, PreferencePair, SftPair

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# Pairs of a transaction: some 0.2 s on SQLite, for which other writers wait.
SLICE_ROWS = 2_000
# How long one request goes on with slices before it tells how far it has come.
REQUEST_SECONDS = 2.0

Action = BulkDecision.Action
MODELS: dict[str, type[SftPair] | type[PreferencePair]] = {
    BulkDecision.Channel.SFT: SftPair,
    BulkDecision.Channel.PREFERENCE: PreferencePair,
}
_CHANNELS = {model: channel for channel, model in MODELS.items()}
_DECISIONS: dict[str, Decision] = {
    Action.APPROVE: decisions.APPROVE,
    Action.REJECT: decisions.REJECT,
    Action.REOPEN: decisions.REOPEN,
    Action.REEMIT: decisions.REEMIT,
    Action.UNARCHIVE: decisions.UNARCHIVE,
}
_BEFORE = ("review_status", "archived_at")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a filter has and a decision would change.

    Attributes:
        matching: how many pairs the filter has.
        changing: how many of them are not as wanted yet.
        changing_sum: the sum of the numbers of those. Where one leaves the filter as another enters it, their count
            stays.
        highest: the number of the newest pair, None where the filter has none.

    """

    matching: int
    changing: int
    changing_sum: int
    highest: int | None

    @property
    def left_alone(self) -> int:
        """Pairs that are as wanted already."""
        return self.matching - self.changing


def preview(*, pairs: QuerySet[Any], action: str) -> Preview:
    """Return what `action` would do to `pairs`; nothing is changed."""
    changes = _DECISIONS[action].changes
    counts = pairs.order_by().aggregate(
        matching=Count("pk"),
        changing=Count("pk", filter=changes),
        changing_sum=Sum("pk", filter=changes, default=0),
        highest=Max("pk"),
    )
    # PostgreSQL sums whole numbers to a decimal one.
    return Preview(**counts | {"changing_sum": int(counts["changing_sum"])})


def begin(
    *, pairs: QuerySet[Any], action: str, user: User, query: str = "", reason: str = "", is_selection: bool = False
) -> BulkDecision:
    """Write down a decision for `pairs`, which `advance` carries out."""
    # Rows that come into the filter from now on, at either end, are not meant.
    ends = pairs.order_by().filter(_DECISIONS[action].changes).aggregate(lowest=Min("pk"), highest=Max("pk"))
    is_empty = ends["lowest"] is None
    return BulkDecision.objects.create(
        channel=_CHANNELS[pairs.model],
        action=action,
        decided_by=user,
        query=query,
        reason=reason,
        is_selection=is_selection,
        lowest_id=ends["lowest"] or 0,
        next_id=ends["highest"] or 0,
        finished_at=timezone.now() if is_empty else None,
    )


def decide_selected(*, pairs: QuerySet[Any], action: str, user: User, reason: str = "") -> BulkDecision | None:
    """Carry out a decision for rows that were chosen one by one, all or none of them; None where all are so already."""
    with transaction.atomic(using=pairs.db):
        if not pairs.filter(_DECISIONS[action].changes).exists():
            return None
        decision = begin(pairs=pairs, action=action, user=user, reason=reason, is_selection=True)
        while decision.has_more:
            decision = _decide_slice(decision.pk, pairs)
    return decision


def advance(decision: BulkDecision, *, pairs: QuerySet[Any], seconds: float = REQUEST_SECONDS) -> BulkDecision:
    """Carry a decision for `pairs`, the rows of its filter, further for some `seconds`; return it as it is then."""
    until = time.monotonic() + seconds
    while decision.has_more and decision.undo_began_at is None:
        decision = _decide_slice(decision.pk, pairs)
        if time.monotonic() >= until:
            break
    return decision


def undo(decision: BulkDecision, *, user: User, seconds: float = REQUEST_SECONDS) -> BulkDecision:
    """Put back the pairs that a decision changed, for some `seconds`; return it as it is then.

    A pair that anybody has changed since, or that a night or a training run has, is left alone. What of the decision
    was still to be done is not done any more.
    """
    with transaction.atomic():
        decision = BulkDecision.objects.select_for_update().get(pk=decision.pk)
        if decision.undo_began_at is None:
            decision.undo_began_at, decision.undone_by = timezone.now(), user
            decision.save(update_fields=["undo_began_at", "undone_by"])
    until = time.monotonic() + seconds
    while decision.has_more:
        decision = _undo_slice(decision.pk, user)
        if time.monotonic() >= until:
            break
    return decision


def _decide_slice(key: int, pairs: QuerySet[Any]) -> BulkDecision:
    with transaction.atomic():
        # Two requests that carry on the same decision take turns.
        decision = BulkDecision.objects.select_for_update().get(pk=key)
        if decision.undo_began_at is not None or decision.finished_at is not None:
            return decision
        meant = pairs.filter(_DECISIONS[decision.action].changes, pk__gte=decision.lowest_id, pk__lte=decision.next_id)
        keys = list(meant.order_by("-pk").values_list("pk", flat=True)[:SLICE_ROWS])
        if keys:
            decision.changed += _change(decision, keys)
            decision.next_id = keys[-1] - 1
        if len(keys) < SLICE_ROWS:
            decision.finished_at = timezone.now()
        decision.save(update_fields=["changed", "next_id", "finished_at"])
    return decision


def _change(decision: BulkDecision, keys: list[int]) -> int:
    """Change those pairs of `keys` that are not as wanted yet, with what they were kept beside the decision.

    Those that somebody has changed since the decision need not be among the counted ones, which nobody wrote down.
    """
    model = MODELS[decision.channel]
    using = model.objects.db
    since = model.history.filter(id=OuterRef("pk"), history_date__gt=decision.decided_at)
    meant = _locked(model, keys).filter(_DECISIONS[decision.action].changes, ~Exists(since))
    before = list(meant.values_list("pk", *_BEFORE))
    changing = key_list([row[0] for row in before], using=using)
    changed = change(
        model.objects.filter(pk__in=changing),
        _DECISIONS[decision.action].values,
        user=decision.decided_by,
        reason=_reason(decision),
    )
    insert_rows(BulkChange, ["decision_id", "pair_id", *_BEFORE], [(decision.pk, *row) for row in before], using=using)
    changes = BulkChange.objects.filter(decision=decision, pair_id__in=changing)
    changes.update(history_id=Subquery(_newest_record(model, "pair_id")))
    return changed


def _reason(decision: BulkDecision) -> str:
    """Return what the history of each pair says of the decision."""
    # Nights leave a pair alone whose history has these very words.
    if decision.action == Action.UNARCHIVE:
        return UNARCHIVED
    words = f"bulk {decision.pk}: {_DECISIONS[decision.action].reason}"
    return f"{words}: {decision.reason}" if decision.reason else words


def _newest_record(model: type[SftPair] | type[PreferencePair], key: str) -> QuerySet[Any]:
    """Return the newest record in the history of the pair that the outer query names by `key`."""
    records = model.history.filter(id=OuterRef(key)).order_by("-history_id")
    newest: QuerySet[Any] = records.values("history_id")[:1]
    return newest


def _undo_slice(key: int, user: User) -> BulkDecision:
    with transaction.atomic():
        decision = BulkDecision.objects.select_for_update().get(pk=key)
        changes = BulkChange.objects.filter(decision=decision)
        keys = list(changes.order_by("-pair_id").values_list("pair_id", flat=True)[:SLICE_ROWS])
        restored = _restore(decision, keys, user) if keys else 0
        changes.filter(pair_id__in=key_list(keys, using=changes.db)).delete()
        decision.restored += restored
        decision.left_alone += len(keys) - restored
        if len(keys) < SLICE_ROWS:
            decision.undone_at = timezone.now()
        decision.save(update_fields=["restored", "left_alone", "undone_at"])
    return decision


def _restore(decision: BulkDecision, keys: list[int], user: User) -> int:
    """Put back those pairs of `keys` that are in everything as the decision left them; return how many there were."""
    model = MODELS[decision.channel]
    before = BulkChange.objects.filter(decision=decision, pair_id=OuterRef("pk"))
    last_decided = Exists(before.filter(history_id=Subquery(_newest_record(model, "pair_id"))))
    # Training and nights change pairs without a record in this history.
    untouched = _locked(model, keys).filter(last_decided, is_on_record(model))
    (column,) = _DECISIONS[decision.action].values
    # Only used pairs are emitted again, so that what they were need not be looked up.
    value = True if column == "is_used" else Subquery(before.values(column)[:1])
    reason = taken_back(before.values("history_id"), _reason(decision))
    return change(untouched, {column: value}, user=user, reason=reason)


def _locked(model: type[SftPair] | type[PreferencePair], keys: list[int]) -> QuerySet[Any]:
    """Lock the pairs of `keys`, in the order in which everybody does, and return them."""
    rows = model.objects.filter(pk__in=key_list(keys, using=model.objects.db))
    list(rows.order_by("pk").select_for_update().values_list("pk"))
    return rows
