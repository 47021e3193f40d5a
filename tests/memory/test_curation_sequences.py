"""Decisions by two people and their undoing in any order, against a model of what has to come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import bulk_decisions, curation
from memory.models import BulkDecision, PreferencePair, SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db

PAIRS, PEOPLE = range(4), range(2)
NAMES = ("Pixel", "Biscuit", "Crumb")
REVIEWS = {"approve": "approved", "reject": "rejected", "reopen": "pending"}
TEXTS = [("instruction", "Who?"), ("instruction", "And my cat?"), *(("response", f"{name}.") for name in NAMES)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("review"), st.sampled_from(PEOPLE), st.sampled_from(PAIRS), st.sampled_from([*REVIEWS])),
        st.tuples(st.just("merge"), st.sampled_from(PEOPLE), st.sampled_from(PAIRS), st.sampled_from(PAIRS)),
        st.tuples(st.just("bulk"), st.sampled_from(PEOPLE), st.sampled_from([*REVIEWS])),
        st.tuples(st.just("unbulk"), st.sampled_from(PEOPLE), st.integers(0, 3)),
        *[st.tuples(st.just("undo"), st.sampled_from(PEOPLE), st.sampled_from(PAIRS))] * 2,
    ),
    max_size=16,
)


@dataclass
class Decision:
    """What stands on one pair: who made it, in which step, and what the column held before."""

    person: int
    step: int
    column: str
    before: Any


@dataclass
class Model:
    """Each pair's review and merge, the decisions on it that stand, and the step that changed it last."""

    review: list[Any] = field(default_factory=lambda: ["pending" for _ in PAIRS])
    merged: list[Any] = field(default_factory=lambda: [None for _ in PAIRS])
    standing: list[list[Decision]] = field(default_factory=lambda: [[] for _ in PAIRS])
    changed: list[int] = field(default_factory=lambda: [0 for _ in PAIRS])
    step: int = 0

    def decide(self, person: int, pair: int, column: str, value: Any) -> None:
        held = getattr(self, column)
        if held[pair] != value:
            self.standing[pair].append(Decision(person, self.step, column, held[pair]))
            held[pair], self.changed[pair] = value, self.step

    def take_back(self, pair: int, decision: Decision) -> None:
        self.standing[pair].remove(decision)
        getattr(self, decision.column)[pair], self.changed[pair] = decision.before, self.step

    def merge(self, person: int, pair: int, into: int) -> bool:
        if pair == into or self.review[into] == "rejected" or self.merged[into] is not None:
            return False
        for each in PAIRS:
            if each == pair or self.merged[each] == pair:
                self.decide(person, each, "merged", into)
        return True

    def undo(self, person: int, pair: int) -> bool:
        last = self.standing[pair][-1] if self.standing[pair] else None
        if last is None or last.person != person:
            return False
        if last.column == "merged" and last.before is not None and self.merged[last.before] is not None:
            return False
        self.take_back(pair, last)
        for each in PAIRS:
            merges = [decision for decision in self.standing[each] if decision.column == "merged"]
            if merges and (merges[-1].step, merges[-1].before) == (last.step, pair):
                self.take_back(each, merges[-1])
        return True

    def unbulk(self, step: int) -> None:
        for pair in PAIRS:
            if self.changed[pair] == step and self.standing[pair][-1].step == step:
                self.take_back(pair, self.standing[pair][-1])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_what_stands_is_what_was_decided_and_not_taken_back(steps: list[tuple[Any, ...]]) -> None:
    people = [User.objects.get_or_create(username=f"person {number}")[0] for number in PEOPLE]
    pairs = [rows.sft_pair() for _ in PAIRS]
    every = SftPair.objects.filter(pk__in=[pair.pk for pair in pairs])
    model, bulks = Model(), list[tuple[BulkDecision, int]]()
    for model.step, (act, person, *rest) in zip(count(1), steps, strict=False):
        user = people[person]
        if act == "review":
            getattr(curation, rest[1])(pairs=every.filter(pk=pairs[rest[0]].pk), user=user)
            model.decide(person, rest[0], "review", REVIEWS[rest[1]])
        elif act == "merge":
            done = accepted(curation.merge, pairs=every.filter(pk=pairs[rest[0]].pk), into=pairs[rest[1]], user=user)
            assert done == model.merge(person, *rest)
        elif act == "undo":
            assert accepted(curation.undo, pair=pairs[rest[0]], user=user) == model.undo(person, *rest)
        elif act == "bulk":
            made = bulk_decisions.decide_selected(pairs=every, action=rest[0], user=user)
            bulks += [(made, model.step)] if made is not None else []
            for pair in PAIRS:
                model.decide(person, pair, "review", REVIEWS[rest[0]])
        elif rest[0] < len(bulks):
            made, step = bulks.pop(rest[0])
            bulk_decisions.undo(made, user=user)
            model.unbulk(step)
        number: dict[int | None, int | None] = {pair.pk: place for place, pair in enumerate(pairs)}
        found = list(every.order_by("pk").values_list("review_status", "merged_into"))
        assert [status for status, _ in found] == model.review
        assert [number.get(into) for _, into in found] == model.merged


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([*TEXTS, None])),
        max_size=12,
    )
)
def test_each_edited_response_is_preferred_over_the_original_as_long_as_it_stands(
    steps: list[tuple[int, tuple[str, str] | None]],
) -> None:
    SftPair.objects.all().delete()
    PreferencePair.objects.all().delete()
    # Of the same texts: edited alike, they have one preference together.
    pairs = [rows.sft_pair(instruction="Who?", response="Pixel.") for _ in range(2)]
    texts = [[{"instruction": "Who?", "response": "Pixel."}] for _ in pairs]
    for number, change in steps:
        pair, standing = pairs[number], texts[number]
        if change is None:
            assert accepted(curation.undo, pair=pair, user=None) == (len(standing) > 1)
            del standing[max(len(standing) - 1, 1) :]
        elif curation.edit(pair=pair, field=change[0], text=change[1], user=None).columns:
            standing.append({**standing[-1], change[0]: change[1]})
        now = [each[-1] for each in texts]
        assert list(SftPair.objects.order_by("pk").values("instruction", "response")) == now
        edited = {(each["instruction"], each["response"], "Pixel.") for each in now if each["response"] != "Pixel."}
        made = PreferencePair.objects.all()
        assert sorted((each.prompt[-1]["content"], each.chosen, each.rejected) for each in made) == sorted(edited)


def accepted(act: Any, **arguments: Any) -> bool:
    try:
        act(**arguments)
    except ValueError:
        return False
    return True
