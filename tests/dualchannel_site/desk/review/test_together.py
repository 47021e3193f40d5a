"""Two people who decide about the same two pairs in the same moment: one after the other, neither to the other's harm.

On PostgreSQL alone: SQLite lets one of them write at a time.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from dualchannel_site.desk.review.channels import channel_of
from dualchannel_site.desk.review.decisions import Asked, decide, take_back
from dualchannel_site.desk.review.remembered import Decided
from maintenance import decisions
from maintenance.models import Proposal
from memory import curation
from memory.models import SftPair
from tests.dualchannel_site.desk.review.people import CHANGE, VIEW, person
from tests.memory import rows

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]
# Who of the two comes first is chance: each time they may or may not meet.
TIMES = 25

Act = Callable[[], Any]


@pytest.fixture
def users() -> tuple[User, User]:
    first, second = (person(name, *VIEW, *CHANGE, "change_proposal") for name in ("anna", "ben"))
    return first, second


@pytest.fixture
def together() -> Iterator[Callable[[Act, Act], list[Any]]]:
    """What lets two do something at once, and returns what became of it: `ValueError` where it was refused."""
    barrier = Barrier(2)

    def done(act: Act) -> Any:
        # So that both have a connection before they start.
        SftPair.objects.exists()
        barrier.wait(timeout=30)
        try:
            return act()
        except ValueError as error:
            return error

    def leave(number: int) -> None:
        barrier.wait(timeout=30)
        connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        yield lambda *acts: list(pool.map(done, acts))
        list(pool.map(leave, range(2)))


def two_pairs(number: int) -> tuple[SftPair, SftPair]:
    return rows.sft_pair(response=f"Pixel {number}."), rows.sft_pair(response=f"Biscuit {number}.")


def proposal(newer: SftPair, older: SftPair) -> Any:
    found = Proposal.objects.create(
        kind="contradiction", sft_pair=newer, other_sft_pair=older, similarity=0.95, reason="names"
    )
    return Proposal.objects.filter(pk=found.pk)


def asked(pair: SftPair, decision: str, user: User, **form: str) -> Act:
    form["seen"] = curation.state_of(pair)
    return lambda: decide(channel=channel_of("memory"), pk=pair.pk, asked=Asked(decision, **form), user=user)


def merged(*pairs: SftPair) -> int:
    return SftPair.objects.filter(pk__in=[pair.pk for pair in pairs], merged_into__isnull=False).count()


def refused(results: list[Any]) -> int:
    return sum(isinstance(each, ValueError) for each in results)


def test_each_merges_the_other_way_round(together: Any, users: tuple[User, User]) -> None:
    for number in range(TIMES):
        one, other = two_pairs(number)
        results = together(
            lambda one=one, other=other: curation.merge(
                pairs=SftPair.objects.filter(pk=one.pk), into=other, user=users[0]
            ),
            lambda one=one, other=other: curation.merge(
                pairs=SftPair.objects.filter(pk=other.pk), into=one, user=users[1]
            ),
        )
        assert (refused(results), merged(one, other)) == (1, 1)


@pytest.mark.parametrize("decision", ["merge", "absorb"])
def test_each_merges_the_other_way_round_on_the_review_page(
    together: Any, users: tuple[User, User], decision: str
) -> None:
    name = "into" if decision == "merge" else "other"
    for number in range(TIMES):
        one, other = two_pairs(number)
        results = together(
            asked(one, decision, users[0], **{name: str(other.pk)}),
            asked(other, decision, users[1], **{name: str(one.pk)}),
        )
        assert (refused(results), merged(one, other)) == (1, 1)


def taking_back(way: str, pair: SftPair, user: User, proposal: int | None = None) -> Act:
    """Return one of the ways in which `user` takes back that `pair` was merged away, the last decision on it."""
    pair.refresh_from_db()
    if way == "decide":
        return asked(pair, "undo", user)
    if way == "undo":
        return partial(curation.undo, pair=pair, user=user)
    record = pair.history.latest("history_id").history_id
    decided = Decided(shown=pair.pk, changed=pair.pk, proposal=proposal, text="", record=record)
    return partial(take_back, channel=channel_of("memory"), decided=decided, user=user)


@pytest.mark.parametrize("way", ["undo", "decide", "take_back"])
def test_one_takes_a_merge_back_while_one_decides_on_all_the_pairs(
    together: Any, users: tuple[User, User], way: str
) -> None:
    for number in range(TIMES):
        followers = [rows.sft_pair(response=f"Pixel {number}, told {time} times.") for time in range(20)]
        merged_away, survivor = two_pairs(number)
        pairs = [*followers, merged_away, survivor]
        everything = SftPair.objects.filter(pk__in=[pair.pk for pair in pairs])
        SftPair.objects.filter(pk__in=[pair.pk for pair in followers]).update(merged_into=merged_away)
        merge = SftPair.objects.filter(pk=merged_away.pk)
        curation.merge(pairs=merge, into=survivor, user=users[0])
        results = together(
            taking_back(way, merged_away, users[0]),
            lambda pairs=everything: curation.approve(pairs=pairs, user=users[1]),
        )
        assert results[1] == len(pairs)
        assert merged(*pairs) == (len(pairs) - 1 if refused(results[:1]) else len(followers))


@pytest.mark.parametrize("way", ["decide", "take_back"])
def test_one_takes_an_accepted_proposal_back_while_one_accepts_it(
    together: Any, users: tuple[User, User], way: str
) -> None:
    for number in range(TIMES):
        newer, older = two_pairs(number)
        found = proposal(newer, older)
        decisions.accept(proposals=found, user=users[0])
        results = together(
            taking_back(way, older, users[0], found.get().pk),
            asked(newer, "accept", users[1], proposal=str(found.get().pk)),
        )
        assert refused(results[:1]) == 0
        assert merged(newer, older) == 1 - refused(results[1:])


def test_each_accepts_a_proposal_about_the_same_pairs(together: Any, users: tuple[User, User]) -> None:
    for number in range(TIMES):
        one, other = two_pairs(number)
        first, second = proposal(one, other), proposal(other, one)
        results = together(
            lambda first=first: decisions.accept(proposals=first, user=users[0]),
            lambda second=second: decisions.accept(proposals=second, user=users[1]),
        )
        assert (refused(results), merged(one, other)) == (1, 1)


def test_one_accepts_on_the_review_page_and_one_on_the_list(together: Any, users: tuple[User, User]) -> None:
    for number in range(TIMES):
        newer, older = two_pairs(number)
        found = proposal(newer, older)
        results = together(
            asked(newer, "accept", users[0], proposal=str(found.get().pk)),
            lambda found=found: decisions.accept(proposals=found, user=users[1]),
        )
        assert results[1] == refused(results[:1])
        assert merged(newer, older) == 1


def test_one_accepts_for_a_pair_that_is_merged_away_while_one_decides_on_all_the_pairs(
    together: Any, users: tuple[User, User]
) -> None:
    for number in range(TIMES):
        # Those that the survivor stands for have the lower keys.
        survivor, *followers = (rows.sft_pair(response=f"Pixel {number}, told {time} times.") for time in range(20))
        newer, older = two_pairs(number)
        SftPair.objects.filter(pk__in=[pair.pk for pair in (*followers, newer)]).update(merged_into=survivor)
        newer.refresh_from_db()
        pairs = [survivor, *followers, newer, older]
        everything = SftPair.objects.filter(pk__in=[pair.pk for pair in pairs])
        results = together(
            asked(newer, "accept", users[0], proposal=str(proposal(newer, older).get().pk)),
            lambda pairs=everything: curation.approve(pairs=pairs, user=users[1]),
        )
        assert results[1] == len(pairs)
        assert merged(older) == 1 - refused(results[:1])
