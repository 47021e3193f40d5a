"""What a person may decide about the pair under review, by name; each is one call of `memory.curation`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Max, QuerySet

from dualchannel_site.desk.review.channels import ReviewChannel
from dualchannel_site.desk.review.remembered import Decided
from maintenance import decisions
from maintenance.models import Proposal
from memory import curation
from memory.curation.decisions import APPROVE, REJECT
from memory.curation.undoing import MERGED_INTO
from memory.curation.writing import lock_groups
from memory.models import PreferencePair, SftPair

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class DecisionError(ValueError):
    """A decision that cannot be made; says what was got and what is allowed."""


class ChangedMeanwhileError(DecisionError):
    """Somebody else, or the night, changed the pair since the page was made."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision as the form sends it; what is empty was not sent.

    `seen` is the state in which the person saw the pair, `other_seen` that of the other pair of a merge or a proposal,
    which is not known where its number was typed.
    """

    decision: str
    seen: str
    other_seen: str = ""
    field: str = ""
    text: str = ""
    reason: str = ""
    into: str = ""
    other: str = ""
    proposal: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided: what the page says, which pair changed, and whether the next pair follows.

    `changed` is None where no pair had to change, `proposal` is the proposal that was decided: without either there is
    nothing to undo. `record` is what the history of the changed pair says of the decision, `undone` the record that was
    taken back. `puts_off` tells that the pair waits still, and should not be the next again.
    """

    text: str
    changed: int | None
    moves_on: bool = True
    puts_off: bool = False
    proposal: int | None = None
    record: int | None = None
    undone: int | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A pair, locked and as its person saw it, with what was asked of it."""

    channel: ReviewChannel
    pair: SftPair | PreferencePair
    asked: Asked
    user: User

    @property
    def rows(self) -> QuerySet[Any]:
        return self.channel.model._default_manager.filter(pk=self.pair.pk)

    def another(self, name: str) -> SftPair | PreferencePair:
        """Return the pair that `name` of the form names, locked and as its person saw it."""
        typed = getattr(self.asked, name)
        found = self.other_as_seen(_key(typed))
        if found is None:
            raise DecisionError(f"{name}: got {typed!r}, allowed the number of a pair of this channel")
        return found

    def other_as_seen(self, pk: int) -> SftPair | PreferencePair | None:
        others = self.channel.model._default_manager.select_for_update()
        found: SftPair | PreferencePair | None = others.filter(pk=pk).first()
        if found is not None and self.asked.other_seen not in ("", curation.state_of(found)):
            raise ChangedMeanwhileError(f"Pair {pk} was changed since you saw it, so nothing was decided.")
        return found


def decide(*, channel: ReviewChannel, pk: int, asked: Asked, user: User) -> Outcome:
    """Make a decision, or none of it.

    Where somebody else has decided the same meanwhile, and nothing else, there is nothing left to decide, and the next
    pair follows.

    Raises:
        DecisionError: it cannot be made.
        ChangedMeanwhileError: the pair is no longer as `asked.seen` says, or the other one as `asked.other_seen` does.
        SftPair.DoesNotExist, PreferencePair.DoesNotExist: there is no such pair.
        ValueError, ValidationError: curation refuses it; its one line says why.
        PermissionDenied: the person may decide about pairs, but not about proposals.

    """
    known = allowed_decisions(channel)
    if asked.decision not in known:
        raise DecisionError(f"decision: got {asked.decision!r}, allowed {', '.join(known)}")
    with transaction.atomic():
        _lock_others(channel, _key(str(pk)), asked, user)
        pair = channel.model._default_manager.select_for_update().get(pk=pk)
        if asked.seen != curation.state_of(pair):
            if _is_decided_alike(pair, asked.decision):
                return Outcome(f"Pair {pk} was {pair.review_status} meanwhile.", changed=None)
            raise ChangedMeanwhileError(
                f"Pair {pk} was changed since you saw it, so nothing was decided. This is how it is now; "
                "Skip goes on to the next pair."
            )
        outcome = known[asked.decision](_Case(channel, pair, asked, user))
        if outcome.changed is None:
            return outcome
        records = channel.model.history.filter(id=outcome.changed)
        return replace(outcome, record=records.aggregate(newest=Max("history_id"))["newest"])


def _is_decided_alike(pair: SftPair | PreferencePair, decision: str) -> bool:
    """Return whether the last decision on a pair is this one, made on it alone or on many: an edit approves as well."""
    wish = _WISHES.get(decision)
    if wish is None or pair.review_status != wish.values["review_status"]:
        return False
    reasons = type(pair).history.filter(id=pair.pk).values_list("history_change_reason", flat=True)
    newest = reasons.order_by("-history_id").first() or ""
    return re.match(rf"(bulk \d+: )?{wish.reason}(: |$)", newest) is not None


def _lock_others(channel: ReviewChannel, pk: int, asked: Asked, user: User) -> None:
    """Lock what a decision about more than one pair is about: its proposals first, then all pairs in their order."""
    others = {_key(asked.into), _key(asked.other)} - {0}
    if asked.proposal:
        proposal = Proposal.objects.filter(pk=_key(asked.proposal)).select_for_update().first()
        others |= proposal.pair_keys(channel.link) if proposal is not None else set()
    if asked.decision == "undo":
        list(_accepted_against(channel, pk, user).order_by("pk").select_for_update().values("pk"))
    if others or asked.decision == "undo":
        lock_groups(channel.model, [pk, *others], using=DEFAULT_DB_ALIAS)


def take_back(*, channel: ReviewChannel, decided: Decided, user: User) -> None:
    """Undo a decision that changed a pair, decided a proposal, or both; all of it or nothing, and no other decision.

    Raises:
        ValueError, ValidationError: curation refuses it; its one line says why.

    """
    with transaction.atomic():
        # In the order of `_lock_others`; undo locks the pair with those that it was merged with.
        if decided.proposal is not None:
            decisions.reopen(proposals=Proposal.objects.filter(pk=decided.proposal), user=user)
        if decided.changed is not None:
            pair = channel.model._default_manager.get(pk=decided.changed)
            curation.undo(pair=pair, user=user, expected=decided.record)


def allowed_decisions(channel: ReviewChannel) -> Mapping[str, Callable[[_Case], Outcome]]:
    """Return what can be decided about a pair of the channel, by name."""
    return _PREFERENCE if channel.model is PreferencePair else _COMMON


def _approve(case: _Case) -> Outcome:
    return _changed(case, curation.approve(pairs=case.rows, user=case.user), "approved")


def _reject(case: _Case) -> Outcome:
    return _changed(case, curation.reject(pairs=case.rows, user=case.user), "rejected")


def _reemit(case: _Case) -> Outcome:
    count = curation.reemit(pairs=case.rows, user=case.user, reason=case.asked.reason.strip())
    if not count:
        raise DecisionError(f"Pair {case.pair.pk} is not used; only a used pair can be re-emitted.")
    return Outcome(f"Pair {case.pair.pk} re-emitted.", changed=case.pair.pk, puts_off=True)


def _edit(case: _Case) -> Outcome:
    edited = curation.edit(pair=case.pair, field=case.asked.field, text=case.asked.text, user=case.user)
    if not edited.columns:
        raise DecisionError(f"{case.asked.field}: got the text as it was, allowed another one")
    made = f"; preference pair {edited.preference} has the original as the worse answer" if edited.preference else ""
    return Outcome(f"Pair {case.pair.pk} edited and approved{made}.", changed=case.pair.pk)


def _merge(case: _Case) -> Outcome:
    into = case.another("into")
    return _changed(
        case, curation.merge(pairs=case.rows, into=into, user=case.user), f"merged into {into.pk}, which stands for it"
    )


def _absorb(case: _Case) -> Outcome:
    other = case.another("other")
    others = case.channel.model._default_manager.filter(pk=other.pk)
    count = curation.merge(pairs=others, into=case.pair, user=case.user)
    text = f"Pair {other.pk} merged into {case.pair.pk}, which stands for it."
    return Outcome(text, changed=other.pk if count else None, moves_on=False)


def _swap(case: _Case) -> Outcome:
    curation.swap(pair=cast(PreferencePair, case.pair), user=case.user)
    return Outcome(f"Pair {case.pair.pk}: answers swapped, and approved.", changed=case.pair.pk)


def _tie(case: _Case) -> Outcome:
    return _changed(case, curation.tie(pair=cast(PreferencePair, case.pair), user=case.user), "rejected as a tie")


def _undo(case: _Case) -> Outcome:
    undone = curation.undo(pair=case.pair, user=case.user)
    if MERGED_INTO in undone.columns:
        # Accepted with this merge, or after it: both pairs stand again.
        merged_at = case.channel.model.history.filter(history_id=undone.record).values("history_date")
        accepted = _accepted_against(case.channel, case.pair.pk, case.user)
        decisions.reopen(proposals=accepted.filter(decided_at__gte=merged_at[:1]), user=case.user)
    text = f"Pair {case.pair.pk}: undone ({undone.what})."
    return Outcome(text, changed=None, moves_on=False, undone=undone.record)


def _accepted_against(channel: ReviewChannel, pk: int, user: User) -> QuerySet[Proposal]:
    """Return the proposals by which `user` let another pair stand for the pair `pk`."""
    against = {f"other_{channel.link}": pk, "decided_by": user}
    return Proposal.objects.filter(status=Proposal.Status.ACCEPTED, **against)


def _accept(case: _Case) -> Outcome:
    found = _proposal(case)
    older = getattr(found, f"other_{case.channel.link}")
    stood_for_by = older.merged_into_id
    decisions.accept(proposals=Proposal.objects.filter(pk=found.pk), user=case.user)
    older.refresh_from_db(fields=["merged_into"])
    # It may have been merged before, which is then not undone with the proposal.
    changed = None if older.merged_into_id == stood_for_by else older.pk
    # The pair that stays is still to be decided.
    stays = older.pk != case.pair.pk
    text = f"Proposal {found.pk} accepted: pair {older.pk} is merged away."
    return Outcome(text, changed=changed, moves_on=not stays, proposal=found.pk)


def _dismiss(case: _Case) -> Outcome:
    found = _proposal(case)
    decisions.dismiss(proposals=Proposal.objects.filter(pk=found.pk), user=case.user)
    text = f"Proposal {found.pk} dismissed: both pairs stand."
    return Outcome(text, changed=None, moves_on=False, proposal=found.pk)


def _proposal(case: _Case) -> Proposal:
    if not case.user.has_perm("maintenance.change_proposal"):
        raise PermissionDenied
    typed = case.asked.proposal
    found = Proposal.objects.open().filter(pk=_key(typed)).first()
    both = set() if found is None else {getattr(found, f"{name}{case.channel.link}_id") for name in ("", "other_")}
    if found is None or case.pair.pk not in both:
        raise DecisionError(f"proposal: got {typed!r}, allowed the number of an open proposal about this pair")
    for other in both - {case.pair.pk}:
        case.other_as_seen(other)
    return found


def _key(typed: str) -> int:
    """Return the key that was typed; 0, which no row has, for what is none."""
    # Longer numbers are no keys, and a database refuses them.
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) <= 18 else 0


def _changed(case: _Case, count: int, what: str) -> Outcome:
    if not count:
        return Outcome(f"Pair {case.pair.pk} was {what} already.", changed=None)
    return Outcome(f"Pair {case.pair.pk} {what}.", changed=case.pair.pk)


# What two people may want of the same pair, each without the other.
_WISHES = {"approve": APPROVE, "reject": REJECT}
_COMMON: Mapping[str, Callable[[_Case], Outcome]] = {
    "approve": _approve,
    "reject": _reject,
    "reemit": _reemit,
    "edit": _edit,
    "merge": _merge,
    "absorb": _absorb,
    "accept": _accept,
    "dismiss": _dismiss,
    "undo": _undo,
}
_PREFERENCE: Mapping[str, Callable[[_Case], Outcome]] = {**_COMMON, "swap": _swap, "tie": _tie}
