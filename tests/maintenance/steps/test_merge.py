"""Duplicates are merged, nothing is lost, and a person decides what a machine cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintenance import releasing
from maintenance.decisions import accept, dismiss
from maintenance.merging import channel_merge, judging, proposals, writing
from maintenance.merging.candidates import Pool, read_pool
from maintenance.merging.channels import SFT
from maintenance.merging.marks import ChannelMarks
from maintenance.models import MaintenanceRun, MaintenanceStep, Proposal, RowChange
from maintenance.night import StepOutcome
from maintenance.rehearsal import rehearsal
from maintenance.steps.merge import merge
from maintenance.undo import undo
from memory import curation
from memory.embeddings import pair_text
from memory.models import Conversation, PairEmbedding, PreferencePair, SftPair
from memory.text import content_hash
from tests.maintenance import nights
from tests.maintenance.merging.stored import BEGIN, embed, memory, merge_night, preference, record, standing
from tests.memory import rows
from tests.memory.embedders import FakeEmbedder

pytestmark = pytest.mark.django_db

QUESTION = "What is my dog called?"
PROMPT = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(autouse=True)
def no_key_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL compare what is new alone, as SQLite does."""
    monkeypatch.setattr(channel_merge, "KEYS_LOOKED_AT_AGAIN", 0)


def maren() -> User:
    return User.objects.get_or_create(username="maren")[0]


def edit(pair: SftPair, response: str) -> None:
    """Let a person change an answer."""
    SftPair.objects.filter(pk=pair.pk).update(response=response, content_hash=content_hash(pair.instruction, response))


def table(model: type[SftPair] | type[PreferencePair]) -> list[dict[str, Any]]:
    found: Any = model._default_manager.order_by("pk").values()
    return list(found)


# Which pair survives, and who goes where.


@pytest.mark.parametrize(
    ("best", "other"),
    [
        ({"review_status": "approved"}, {"reward_intensity": 1.0}),
        ({"reward_intensity": 0.9}, {"reward_intensity": 0.8, "loss": 0.1, "day": 9}),
        ({"loss": 0.3}, {"loss": 0.4, "day": 9}),
        ({"loss": 9.0}, {"day": 9}),  # any loss before none
        ({"day": 1}, {"day": 0}),
    ],
)
@pytest.mark.parametrize("is_copy", [True, False])
def test_the_best_pair_survives(best: dict[str, Any], other: dict[str, Any], is_copy: bool) -> None:
    one, two = memory("Sure, good.", **other), memory("Sure, good." if is_copy else "Okay, good!", **best)
    assert merge_night().counts["sft_merged"] == 1
    assert standing(one, two) == [1, None]


def test_copies_are_merged_without_vectors_and_whatever_their_facts() -> None:
    pairs = [memory(text, None, day=day) for day, text in enumerate(["It is Rex.", "it  is REX.", "It is Max."])]
    outcome = merge_night()
    assert standing(*pairs) == [1, None, None]
    assert (outcome.counts["sft_merged"], outcome.counts["groups"], outcome.counts["compared_pairs"]) == (1, 1, 0)


def test_a_copy_goes_where_the_first_of_its_content_goes() -> None:
    pairs = [memory("sure, good"), memory("Sure, good", None, day=1), memory("well, good", 20, day=2)]
    merge_night()
    assert standing(*pairs) == [2, 2, None]
    assert [each["similarity"] for each in pairs[2].metadata["merged"]] == [0.9397, 0.9397]


def test_what_is_less_similar_than_the_threshold_stays() -> None:
    pairs = [memory("sure, good", 0), memory("well, good", 24)]  # 0.914
    assert merge_night().counts["sft_merged"] == 0
    assert merge_night(similarity_threshold=0.9).counts["sft_merged"] == 1
    assert standing(*pairs).count(None) == 1


def test_a_chain_of_ever_so_slightly_different_pairs_does_not_collapse() -> None:
    pairs = [memory(f"sure {'well ' * place}good", 20 * place, reward_intensity=1 - place / 10) for place in range(4)]
    merge_night()
    assert standing(*pairs) == [None, 0, None, 2]


def test_a_pair_goes_to_the_most_similar_of_those_that_stay() -> None:
    pairs = [
        memory("sure, good", 0, reward_intensity=0.9),
        memory("well, good", 40, reward_intensity=0.8),
        memory("so, good", 22, reward_intensity=0.7),
    ]
    merge_night()
    assert standing(*pairs) == [None, None, 1]


def test_a_pair_goes_to_the_most_similar_one_that_agrees_in_facts() -> None:
    pairs = [
        memory("It is Rex.", 0, reward_intensity=0.9),
        memory("It is Max.", 18, reward_intensity=0.8),
        memory("So it is Rex.", 17, reward_intensity=0.7),
    ]
    merge_night()
    assert standing(*pairs) == [None, None, 0]


def test_a_name_that_another_text_writes_small_is_the_same() -> None:
    pairs = [memory("It is Rex.", day=1), memory("so it is rex", 5)]
    merge_night()
    assert standing(*pairs) == [None, 0]


@pytest.mark.parametrize(
    "fields",
    [
        {"review_status": "rejected"},
        {"archived_at": BEGIN},
        {"sampling_weight": 0.0},
        {"reward_intensity": 0.0},
    ],
)
def test_what_may_not_be_trained_takes_no_part(fields: dict[str, Any]) -> None:
    pairs = [memory("sure, good", day=1, **fields), memory("sure, good"), memory("well, good", day=2, **fields)]
    assert merge_night().counts["sft_merged"] == 0
    assert standing(*pairs) == [None, None, None]


def test_what_was_said_without_consent_takes_no_part() -> None:
    talk = rows.conversation(training_allowed=False)
    pairs = [memory("sure, good", conversation=talk, day=1), memory("sure, good")]
    merge_night()
    assert standing(*pairs) == [None, None]


def test_vectors_of_another_embedder_are_not_compared() -> None:
    one, other = memory("sure, good"), memory("well, good")
    PairEmbedding.objects.filter(sft_pair=other).update(embedder="old/16")
    assert merge_night().counts["compared_pairs"] == 1
    assert standing(one, other) == [None, None]


def test_a_thought_is_never_merged_with_what_was_said() -> None:
    said = [memory("sure, good", None, day=day) for day in range(2)]
    thought = [memory("sure, good", 2, day=day, source="introspection") for day in range(2)]
    other = memory("well, good", 4, day=2)
    third = memory("so, good", 5, source="manual")
    assert merge_night().counts["proposals"] == 0
    assert standing(*said, *thought, other, third) == [1, None, 3, None, None, 4]


# What the survivor takes.


def test_the_survivor_takes_the_best_scores_and_keeps_its_use_and_review() -> None:
    talk = rows.conversation()
    said = rows.message(talk)
    best = memory("sure, good", review_status="approved", reward_intensity=0.5, confidence=0.4, metadata={"a": 1})
    used: dict[str, Any] = {"is_used": True, "used_timestamp": BEGIN, "training_epoch": 3}
    member = memory(
        "well, good",
        10,
        reward_intensity=0.9,
        loss=0.2,
        confidence=0.8,
        conversation=talk,
        assistant_message=said,
        **used,
    )
    copy = memory("sure, good", None, loss=0.3, source="manual", reward_intensity=0.4, confidence=0.1)
    merge_night()
    best.refresh_from_db()
    assert (best.reward_intensity, best.loss, best.confidence) == (0.9, 0.2, 0.8)
    assert (best.review_status, best.is_used, best.used_timestamp, best.response) == (
        "approved",
        False,
        None,
        "sure, good",
    )
    assert best.metadata == {
        "a": 1,
        "merged": [
            {
                "pair": member.pk,
                "message": said.pk,
                "conversation": talk.pk,
                "source": "conversation",
                "similarity": 0.9848,
            },
            {"pair": copy.pk, "message": None, "conversation": None, "source": "manual", "similarity": 1.0},
        ],
    }
    member.refresh_from_db()
    assert (member.reward_intensity, member.is_used, member.training_epoch, member.metadata) == (0.9, True, 3, {})


def test_pairs_that_a_merged_one_stood_for_go_along_with_their_provenance() -> None:
    pairs = [memory("sure, good"), memory("well, good", 5, day=1)]
    merge_night()
    pairs.append(memory("so, good", 10, day=2))
    merge_night()
    assert standing(*pairs) == [2, 2, None]
    assert [each["pair"] for each in pairs[2].metadata["merged"]] == [pairs[1].pk, pairs[0].pk]


def test_over_nights_too_a_chain_of_ever_so_slightly_different_pairs_does_not_collapse() -> None:
    pairs = []
    for place in range(4):
        pairs.append(memory(f"sure {'well ' * place}good", 20 * place, day=place))
        merge_night(days=place)
    assert standing(*pairs) == [None, None, 3, None]
    assert merge_night(days=5).counts["sft_merged"] == 1
    assert standing(*pairs) == [1, None, 3, None]


def test_a_pair_is_released_where_the_survivor_of_its_own_is_not_like_it() -> None:
    pairs = [memory("sure, good", 0), memory("well, good", 20, day=2), memory("so, good", 18, day=1)]
    merge_night()
    assert standing(*pairs) == [1, None, 1]
    pairs.append(memory("yes, good", 38, day=3))
    outcome = merge_night()
    assert (outcome.counts["sft_merged"], outcome.counts["released"]) == (1, 1)
    assert standing(*pairs) == [None, 3, 3, None]
    assert [each["pair"] for each in pairs[3].metadata["merged"]] == [pairs[1].pk, pairs[2].pk]
    later = merge_night(days=1)
    assert (later.counts["compared_pairs"], later.counts["released"]) == (1, 0)
    assert standing(*pairs) == [None, 3, 3, None]


def test_a_pair_is_released_where_the_survivor_of_its_own_has_other_facts() -> None:
    pairs = [memory("Rex it is. So it is.", 0), memory("So it is rex.", 0, day=1), memory("So it is.", 2, day=2)]
    SftPair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1])
    merge_night()
    assert standing(*pairs) == [None, 2, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"archived_at": BEGIN},
        {"review_status": "rejected"},
        {"sampling_weight": 0.0},
        {"reward_intensity": 0.0},
        {"response": "well,  GOOD"},
    ],
)
def test_what_may_not_be_trained_and_copies_go_along_however_unlike(fields: dict[str, Any]) -> None:
    pairs = [memory("sure, good", 0, day=0), memory("well, good", 20, day=1), memory("yes, good", 40, day=2)]
    SftPair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1], **fields)
    if "response" in fields:
        edit(pairs[0], fields["response"])
    assert merge_night().counts["released"] == 0
    assert standing(*pairs) == [2, 2, None]


def test_what_a_person_merged_goes_along_however_unlike() -> None:
    pairs = [memory("It is Rex.", 90), memory("well, good", 20, day=1), memory("yes, good", 40, day=2)]
    curation.merge(pairs=SftPair.objects.filter(pk=pairs[0].pk), into=pairs[1], user=maren())
    assert merge_night().counts["released"] == 0
    assert standing(*pairs) == [2, 2, None]


def test_a_pair_without_a_vector_goes_along_where_the_facts_agree() -> None:
    pairs = [memory("sure, good", None), memory("well, good", 20, day=1), memory("yes, good", 40, day=2)]
    SftPair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1])
    merge_night()
    assert standing(*pairs) == [2, 2, None]


def test_a_thought_is_released_as_a_thought() -> None:
    pairs = [
        memory(text, angle, day=day, source="introspection")
        for day, (text, angle) in enumerate([("sure, good", 0), ("well, good", 20), ("yes, good", 18)])
    ]
    SftPair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1])
    merge_night()
    assert standing(*pairs) == [2, 2, None]


def test_of_preference_pairs_the_rejected_answers_decide_too() -> None:
    pairs = [preference("good day", "so what"), preference("a good day", "well then", 5, day=1)]
    pairs.append(preference("what a good day", "another one", 6, day=2))
    PreferencePair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1])
    model = embedder(so=0, well=20, another=40)
    assert merge_night(load=lambda: model).counts["released"] == 1
    assert standing(*pairs) == [None, 2, None]


def test_where_rejected_answers_are_too_much_to_embed_a_pair_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [preference("good day", "so what"), preference("a good day", "well then", 5, day=1)]
    pairs.append(preference("what a good day", "well  THEN", 6, day=2))
    PreferencePair.objects.filter(pk=pairs[0].pk).update(merged_into=pairs[1])
    monkeypatch.setattr(judging, "MOST_EMBEDDED", 0)
    assert merge_night().counts["released"] == 0
    assert standing(*pairs) == [2, 2, None]


def test_an_undone_night_merges_what_it_released_again_unless_that_stands_for_others_by_now() -> None:
    pairs = [memory("sure, good", 0), memory("well, good", 20, day=1)]
    merge_night()
    pairs.append(memory("yes, good", 40, day=2))
    before = table(SftPair)
    merge_night()
    run = MaintenanceRun.objects.latest("pk")
    after = table(SftPair)
    assert standing(*pairs) == [None, 2, None]
    assert undo(run, artifacts=Path("/nowhere"), using="default").refused == []
    assert table(SftPair) == before
    merge_night()
    assert table(SftPair) == after
    run = MaintenanceRun.objects.latest("pk")
    pairs.append(memory("sure, so good", 0, day=-1))
    merge_night()
    assert standing(*pairs) == [None, 2, None, 0]
    report = undo(run, artifacts=Path("/nowhere"), using="default")
    assert [(each.row, each.reason) for each in report.refused] == [(pairs[0].pk, f"stands for pair {pairs[3].pk}")]
    check_groups()


def test_of_very_many_the_metadata_name_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_NAMED", 2)
    pairs = [memory("sure, good", None, reward_intensity=1 - place / 10) for place in range(4)]
    merge_night()
    assert standing(*pairs) == [None, 0, 0, 0]
    assert [each["pair"] for each in pairs[0].metadata["merged"]] == [pairs[1].pk, pairs[2].pk]


@pytest.mark.parametrize("named", ["yes", [1, {"pair": "x"}]])
def test_something_else_under_the_name_of_the_provenance_is_no_obstacle(named: Any) -> None:
    one, other = memory("sure, good", metadata={"merged": named}), memory("sure, good", None, day=1)
    merge_night()
    assert standing(one, other) == [1, None]
    assert [each["pair"] for each in other.metadata["merged"]] == [one.pk]


def test_groups_larger_than_a_transaction_are_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_MEMBERS", 2)
    monkeypatch.setattr(writing, "ROWS_PER_TRANSACTION", 2)
    old = [memory("sure, good", None, reward_intensity=1 - place / 10) for place in range(6)]
    other = [memory("other things", 90, day=day) for day in range(3)]
    assert merge_night().counts["sft_merged"] == 7
    assert standing(*old, *other) == [None, 0, 0, 0, 0, 0, 8, 8, None]
    best = memory("so, good", 1, review_status="approved")
    embed(old[0], 0)
    outcome = merge_night()
    # What the merged one stood for is more than a transaction holds, and goes first.
    assert (outcome.counts["sft_merged"], standing(best, *old)) == (1, [None, 0, 0, 0, 0, 0, 0])
    assert {each["pair"] for each in best.metadata["merged"]} == {pair.pk for pair in old}


def test_small_groups_share_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_MEMBERS", 3)
    pairs = [memory(f"{'so ' * group}good", None, day=day) for group in range(5) for day in range(3)]
    assert merge_night().counts["sft_merged"] == 10
    assert standing(*pairs) == [each for last in range(2, 15, 3) for each in (last, last, None)]


# Alike, with another fact.


def only_proposal() -> Proposal:
    return Proposal.objects.get()


def test_one_question_with_two_answers_is_a_contradiction_and_the_newer_one_is_suggested() -> None:
    older, newer = memory("It is Rex.", reward_intensity=1.0), memory("It is Max.", 10, day=1)
    outcome = merge_night()
    assert standing(older, newer) == [None, None]
    found = only_proposal()
    assert (found.kind, found.status, found.reason) == ("contradiction", "open", "names: Max / Rex")
    assert (found.sft_pair, found.other_sft_pair, found.run_id) == (newer, older, MaintenanceRun.objects.get().pk)
    assert found.similarity == pytest.approx(0.9848, abs=1e-3)
    assert (outcome.counts["proposals"], outcome.counts["proposals_beyond_budget"]) == (1, 0)
    assert RowChange.objects.get().before is None


def test_the_same_said_again_with_another_fact_is_a_correction() -> None:
    memory("Good to know.", instruction="I have three cats.")
    memory("Good to know.", 10, instruction="I have four cats.", day=1)
    merge_night()
    assert (only_proposal().kind, only_proposal().reason) == ("correction", "numbers: four cats / three cats")


def test_a_long_reason_is_cut() -> None:
    memory(f"It is A{'a' * 200}.")
    memory(f"It is B{'b' * 200}.", 10)
    merge_night()
    assert (len(only_proposal().reason), only_proposal().reason[-1]) == (255, "…")


@pytest.mark.parametrize("status", ["open", "accepted", "dismissed"])
@pytest.mark.parametrize("is_reversed", [True, False])
def test_what_was_proposed_once_never_is_again(status: str, is_reversed: bool) -> None:
    pairs = [memory("It is Rex."), memory("It is Max.", 10)]
    one, other = pairs[::-1] if is_reversed else pairs
    Proposal.objects.create(
        kind="contradiction", sft_pair=one, other_sft_pair=other, similarity=0.9, reason="names", status=status
    )
    outcome = merge_night()
    assert (outcome.counts["proposals"], outcome.counts["proposals_beyond_budget"]) == (0, 0)


def test_what_was_proposed_is_not_proposed_again_of_a_pair_that_stands_for_it() -> None:
    memory("It is Rex.")
    memory("It is Max.", 10)
    merge_night()
    memory("so it is max", 10, day=2)
    outcome = merge_night()
    assert (outcome.counts["sft_merged"], outcome.counts["proposals"]) == (1, 0)


def test_an_open_proposal_follows_the_pairs_that_are_merged_and_suggests_the_newer_one() -> None:
    rex, maximal = memory("It is Rex."), memory("It is Max.", 10, day=1)
    merge_night()
    assert only_proposal().reason == "names: Max / Rex"
    again = memory("So it is Rex.", 1, day=2)
    outcome = merge_night()
    assert standing(rex, maximal, again) == [2, None, None]
    assert outcome.counts["proposals"] == 0
    found = only_proposal()
    assert (found.sft_pair, found.other_sft_pair, found.reason) == (again, maximal, "names: Rex / Max")
    assert accept(proposals=Proposal.objects.all(), user=maren()) == 1
    assert standing(rex, maximal, again) == [2, 2, None]


def test_what_an_open_proposal_named_before_is_put_back() -> None:
    memory("It is Rex.")
    memory("It is Max.", 10, day=1)
    merge_night()
    before = list(Proposal.objects.values())
    memory("So it is Rex.", 1, day=2)
    merge_night()
    assert list(Proposal.objects.values()) != before
    assert undo(MaintenanceRun.objects.latest("pk"), artifacts=Path("/nowhere"), using="default").refused == []
    assert list(Proposal.objects.values()) == before


def test_a_proposal_that_was_decided_stays_as_it_is() -> None:
    rex, maximal = memory("It is Rex."), memory("It is Max.", 10, day=1)
    merge_night()
    dismiss(proposals=Proposal.objects.all(), user=maren())
    memory("So it is Rex.", 1, day=2)
    assert merge_night().counts["sft_merged"] == 1
    assert (only_proposal().sft_pair, only_proposal().other_sft_pair) == (maximal, rex)


def test_an_open_proposal_of_what_was_proposed_by_itself_stays_as_it_is() -> None:
    rex, maximal, again = memory("It is Rex."), memory("It is Max.", 10), memory("So it is Rex.", 1, day=2)
    for newer in (rex, again):
        values = {"kind": "contradiction", "similarity": 0.9, "reason": "names"}
        Proposal.objects.create(sft_pair=newer, other_sft_pair=maximal, **values)
    merge_night()
    assert list(Proposal.objects.order_by("pk").values_list("sft_pair", "reason")) == [
        (rex.pk, "names"),
        (again.pk, "names"),
    ]


def test_pairs_that_are_merged_are_not_proposed() -> None:
    pairs = [memory("It is Rex.", day=2), memory("So it is Rex.", 5, day=1), memory("It is Max.", 7)]
    assert merge_night(max_proposals=1).counts["proposals_beyond_budget"] == 0
    assert standing(*pairs) == [None, 0, None]
    assert (only_proposal().sft_pair, only_proposal().other_sft_pair) == (pairs[0], pairs[2])


def test_the_most_similar_come_first_and_the_rest_waits_for_other_nights() -> None:
    for name, angle in (("Rex", 0), ("Max", 5), ("Bob", 15), ("Tim", 35)):
        memory(f"It is {name}.", angle)
    assert merge_night(max_proposals=0).counts["proposals_beyond_budget"] == 4
    told = []
    for most, rest in ((2, 2), (1, 1), (1, 0), (0, 0)):
        outcome = merge_night(max_proposals=most)
        assert (outcome.counts["proposals"], outcome.counts["proposals_beyond_budget"]) == (most, rest)
        assert outcome.details["comparison"]["sft"] == "new with all"
        told += [{*each.reason.removeprefix("names: ").split(" / ")} for each in Proposal.objects.order_by("pk")]
    assert told[-4:] == [{"Rex", "Max"}, {"Max", "Bob"}, {"Bob", "Rex"}, {"Bob", "Tim"}]


def test_the_report_says_which_proposals_wait_until_all_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MOST_WAITING", 2)
    for name, angle in (("Rex", 0), ("Max", 5), ("Bob", 15)):
        memory(f"It is {name}.", angle)
    assert merge_night(max_proposals=1).details["notes"] == []
    MaintenanceStep.objects.all().delete()
    Proposal.objects.all().delete()
    assert merge_night(max_proposals=0).details["notes"] == [
        "Of 3 more proposals of memory pairs the 2 most similar wait for the next nights; the others are found again "
        "when all pairs are compared."
    ]
    assert merge_night(max_proposals=9, days=1).counts["proposals"] == 2
    assert merge_night(max_proposals=9, days=40).counts["proposals"] == 1


def test_of_more_than_anybody_reads_the_most_similar_are_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_merge, "MOST_ALIKE", 1)
    for name, angle in (("Rex", 0), ("Max", 10), ("Bob", 15)):
        memory(f"It is {name}.", angle)
    merge_night()
    assert only_proposal().similarity == pytest.approx(0.9962, abs=1e-3)


def test_both_channels_share_the_budget() -> None:
    memory("It is Rex.")
    memory("It is Max.", 10)
    preference("It is Rex.", "What a day!")
    preference("It is Max.", "What a day!", 10)
    outcome = merge_night(max_proposals=1)
    assert (outcome.counts["proposals"], outcome.counts["proposals_beyond_budget"]) == (1, 1)
    assert Proposal.objects.get().sft_pair is not None


# Pairs whose survivor may not be trained any more.


def withdraw(conversation: Conversation | None) -> None:
    assert conversation is not None
    Conversation.objects.filter(pk=conversation.pk).update(training_allowed=False)


def three_alike() -> list[SftPair]:
    """Store three pairs that say the same, in three conversations, and let the last one stand for the others."""
    texts = ["sure, good", "well, good", "so, good"]
    pairs = [memory(text, 5 * day, day=day, conversation=rows.conversation(text)) for day, text in enumerate(texts)]
    merge_night()
    assert standing(*pairs) == [2, 2, None]
    return pairs


@pytest.mark.parametrize("is_deleted", [False, True])
def test_what_a_pair_stood_for_is_trained_when_it_loses_its_consent(is_deleted: bool) -> None:
    pairs = three_alike()
    withdraw(pairs[2].conversation)
    if is_deleted:
        Conversation.objects.filter(training_allowed=False).delete()
    assert not SftPair.objects.trainable().exists()
    outcome = merge_night(days=1)
    # And they are compared with each other, though neither is new.
    assert standing(*pairs) == [1, None, None]
    assert (outcome.counts["released_for_consent"], outcome.counts["sft_merged"]) == (2, 1)
    assert list(SftPair.objects.trainable()) == [pairs[1]]
    assert merge_night(days=2).counts["released_for_consent"] == 0


def test_what_a_preference_stood_for_is_trained_when_it_loses_its_consent() -> None:
    pairs = [
        preference(chosen, "Nothing at all.", day=day, conversation=rows.conversation(chosen))
        for day, chosen in enumerate(["Sure, good.", "well, good"])
    ]
    merge_night()
    assert standing(*pairs) == [1, None]
    withdraw(pairs[1].conversation)
    assert merge_night(days=1).counts["released_for_consent"] == 1
    assert standing(*pairs) == [None, None]


@pytest.mark.parametrize(
    "fields",
    [{"review_status": "rejected"}, {"sampling_weight": 0.0}, {"reward_intensity": 0.0}, {"archived_at": BEGIN}],
)
def test_what_would_not_be_trained_either_stays_merged(fields: dict[str, Any]) -> None:
    pairs = three_alike()
    withdraw(pairs[2].conversation)
    SftPair.objects.filter(pk=pairs[0].pk).update(**fields)
    withdraw(pairs[1].conversation)
    assert merge_night(days=1).counts["released_for_consent"] == 0
    assert standing(*pairs) == [2, 2, None]


def test_what_a_person_rejects_is_rejected_for_all_that_say_the_same() -> None:
    pairs = three_alike()
    curation.reject(pairs=SftPair.objects.filter(pk=pairs[2].pk), user=maren())
    assert merge_night(days=1).counts["released_for_consent"] == 0
    SftPair.objects.filter(pk=pairs[2].pk).update(review_status="pending", sampling_weight=0.0)
    assert merge_night(days=2).counts["released_for_consent"] == 0
    assert standing(*pairs) == [2, 2, None]


def test_what_a_person_rejects_is_rejected_for_all_though_consent_goes_too() -> None:
    pairs = three_alike()
    curation.reject(pairs=SftPair.objects.filter(pk=pairs[2].pk), user=maren())
    withdraw(pairs[2].conversation)
    assert merge_night(days=1).counts["released_for_consent"] == 0
    Conversation.objects.filter(training_allowed=False).delete()
    assert merge_night(days=2).counts["released_for_consent"] == 0
    assert standing(*pairs) == [2, 2, None]


@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize("column", ["sampling_weight", "reward_intensity"])
def test_what_a_person_weights_to_nothing_is_so_for_all_though_consent_goes_too(column: str, is_deleted: bool) -> None:
    pairs = three_alike()
    SftPair.objects.filter(pk=pairs[2].pk).update(**{column: 0.0})
    withdraw(pairs[2].conversation)
    if is_deleted:
        Conversation.objects.filter(training_allowed=False).delete()
    assert merge_night(days=1).counts["released_for_consent"] == 0
    assert standing(*pairs) == [2, 2, None]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reads what is small as a whole")
def test_not_every_pair_is_read_for_those_whose_survivor_lost_its_consent() -> None:
    for number in range(10):
        conversation = rows.conversation(str(number))
        SftPair.objects.insert(rows.unsaved_sft_pair(conversation=conversation) for _ in range(100))
    night = nights.night("merge")
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        cursor.execute("ANALYZE")
        releasing.release_pairs(night, SftPair)
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[-1]['sql']}")
        plan = " / ".join(row[-1] for row in cursor.fetchall())
    # The conversations, and no more of the pairs than an index holds.
    read = [line for line in plan if line.startswith("SCAN") and "COVERING INDEX" not in line]
    assert read == ["SCAN U0"] * len(read), plan
    assert "SEARCH memory_sftpair USING INTEGER PRIMARY KEY (rowid=?)" in plan, plan


def test_what_a_person_merged_stays_merged() -> None:
    older, newer = (memory(f"It is {name}.", conversation=rows.conversation(name)) for name in ("Rex", "Max"))
    curation.merge(pairs=SftPair.objects.filter(pk=older.pk), into=newer, user=maren())
    withdraw(newer.conversation)
    assert merge_night().counts["released_for_consent"] == 0
    assert standing(older, newer) == [1, None]


def test_a_merge_that_a_person_took_back_binds_no_night() -> None:
    texts = enumerate(["sure, good", "well, good"])
    older, newer = (memory(text, day=day, conversation=rows.conversation(text)) for day, text in texts)
    for _ in range(2):
        curation.merge(pairs=SftPair.objects.filter(pk=older.pk), into=newer, user=maren())
        curation.undo(pair=SftPair.objects.get(pk=older.pk), user=maren())
    merge_night()
    assert standing(older, newer) == [1, None]
    withdraw(newer.conversation)
    assert merge_night(days=1).counts["released_for_consent"] == 1
    assert standing(older, newer) == [None, None]


def test_small_transactions_release_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releasing, "ROWS_PER_TRANSACTION", 1)
    pairs = three_alike()
    withdraw(pairs[2].conversation)
    assert merge_night(days=1).counts["released_for_consent"] == 2


def test_an_undone_night_puts_what_it_released_back(tmp_path: Path) -> None:
    pairs = three_alike()
    withdraw(pairs[2].conversation)
    before = table(SftPair)
    merge_night(days=1)
    report = undo(MaintenanceRun.objects.latest("pk"), artifacts=tmp_path, using="default")
    assert (report.refused, table(SftPair)) == ([], before)


# Nights after the first.


def test_a_second_night_finds_nothing_more() -> None:
    for place in range(12):
        memory(["It is Rex.", "well, good", "so, good", "sure"][place % 4], 7 * place, day=place % 5)
    first = merge_night()
    before = table(SftPair)
    second = merge_night(full_every_days=1, days=2)
    assert first.counts["sft_merged"] > 0
    assert second.details["comparison"] == {"sft": "full", "preference": "full"}
    assert {name: count for name, count in second.counts.items() if count} == {
        "compared_pairs": SftPair.objects.filter(merged_into=None).count()
    }
    assert table(SftPair) == before


def test_only_what_is_new_is_compared_with_all() -> None:
    for place in range(5):
        memory(f"good {'so ' * place}", 30 * place)
    assert merge_night().counts["compared_pairs"] == 5
    nothing = merge_night(days=1)
    assert (nothing.counts["compared_pairs"], nothing.details["comparison"]["sft"]) == (0, "new with all")
    memory("good so, yes", 32, day=1)
    outcome = merge_night(days=2)
    assert (outcome.counts["compared_pairs"], outcome.counts["sft_merged"]) == (1, 1)


def test_a_pair_with_a_new_text_is_new() -> None:
    one, other = memory("good", 0, day=1), memory("something else", 80)
    merge_night()
    edit(other, "so good")
    embed(other, 1)
    outcome = merge_night(days=1)
    assert (outcome.counts["compared_pairs"], standing(one, other)) == (1, [None, 0])


def reopen(pair: SftPair) -> None:
    curation.reopen(pairs=SftPair.objects.filter(pk=pair.pk), user=maren())


def unarchive(pair: SftPair) -> None:
    curation.unarchive(pairs=SftPair.objects.filter(pk=pair.pk), user=maren())


def take_back(pair: SftPair) -> None:
    curation.undo(pair=pair, user=maren())


@pytest.mark.parametrize(
    ("fields", "act"),
    [({"review_status": "rejected"}, reopen), ({"archived_at": BEGIN}, unarchive), ({}, take_back)],
)
def test_a_pair_that_somebody_brings_back_is_compared_the_next_night(
    fields: dict[str, Any], act: Callable[[SftPair], None]
) -> None:
    one, other = memory("good", 0, day=1), memory("so good", 1, **fields)
    other_one = memory("it is another thing", 90)
    if not fields:
        curation.merge(pairs=SftPair.objects.filter(pk=other.pk), into=other_one, user=maren())
    merge_night()
    act(other)
    assert merge_night(days=1).counts["compared_pairs"] == 1
    assert standing(one, other) == [None, 0]
    assert merge_night(days=2).counts["compared_pairs"] == 0


def test_a_pair_without_a_vector_is_compared_by_that_of_a_new_copy() -> None:
    pairs = [memory("good", None, review_status="approved"), memory("so good")]
    assert merge_night().counts["sft_merged"] == 0
    pairs.append(memory("Good", 10))
    merge_night()
    assert standing(*pairs) == [None, 0, 0]


def test_postgresql_looks_at_the_last_keys_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(4):
        memory(f"good {'so ' * place}", 30 * place)
    merge_night()
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setattr(channel_merge, "KEYS_LOOKED_AT_AGAIN", 2)
    pool = read_pool(SFT, version=FakeEmbedder.version, using="default")
    marks = ChannelMarks(key=int(pool.candidates["embedding"].max()), full_at=BEGIN)
    assert channel_merge._is_new(SFT, pool, marks, using="default").sum() == 2


@pytest.mark.parametrize(
    ("days", "comparison"), [(29, "new with all"), (30, "full"), (-1 / 24, "new with all"), (-40, "full")]
)
def test_all_are_compared_again_after_some_days_wherever_the_clock_is(days: float, comparison: str) -> None:
    merge_night()
    assert merge_night(days=days).details["comparison"] == {"sft": comparison, "preference": comparison}


def test_what_the_last_full_comparison_was_is_remembered_over_nights() -> None:
    merge_night()
    assert [merge_night(days=days).details["comparison"]["sft"] for days in (20, 31, 40)] == [
        "new with all",
        "full",
        "new with all",
    ]


def test_another_threshold_or_embedder_or_an_undone_night_compares_all() -> None:
    memory("good")
    merge_night()
    assert merge_night(similarity_threshold=0.9).details["comparison"]["sft"] == "full"
    assert merge_night(similarity_threshold=0.9).details["comparison"]["sft"] == "new with all"
    MaintenanceStep.objects.update(undone_at=BEGIN)
    assert merge_night(similarity_threshold=0.9).details["comparison"]["sft"] == "full"
    MaintenanceStep.objects.order_by("-pk")[0].undo(using="default")
    MaintenanceStep.objects.update(undone_at=None)
    night = replace(nights.night("merge", now=BEGIN, merge={"similarity_threshold": 0.9}), version=lambda: "new/16")
    assert merge(night).details["comparison"]["sft"] == "full"


@pytest.mark.parametrize(
    "marks", [None, {}, {"embedder": FakeEmbedder.version, "threshold": 0.92, "channels": {"sft": 1}}]
)
def test_marks_that_cannot_be_read_compare_all(marks: Any) -> None:
    record(nights.night("merge"), StepOutcome(details={"marks": marks}))
    assert merge_night().details["comparison"]["sft"] == "full"


def test_all_are_compared_after_any_undo_since_it_brings_pairs_back() -> None:
    pairs = [memory("good", day=1), memory("so good", 1, archived_at=BEGIN)]
    retired = nights.night("retire", now=BEGIN)
    merge_night()
    SftPair.objects.update(archived_at=None)
    MaintenanceStep.objects.get(run=retired.run).undo(using="default")
    assert merge_night(days=1).details["comparison"]["sft"] == "full"
    assert standing(*pairs) == [None, 0]
    assert merge_night(days=2).details["comparison"]["sft"] == "new with all"


def test_a_night_that_failed_leaves_no_marks() -> None:
    merge_night()
    night = nights.night("merge")
    MaintenanceStep.objects.filter(run=night.run).update(status="failed", details={"marks": None})
    assert merge_night().details["comparison"]["sft"] == "new with all"


def test_what_a_night_released_that_failed_is_compared_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [memory("sure, good", 0), memory("well, good", 20, day=2)]
    merge_night()
    pairs.append(memory("yes, good", 38, day=3))
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr(channel_merge, "follow_merges", lambda *arguments: 1 / 0)
        merge_night(days=1)
    assert standing(*pairs) == [None, 2, None]
    outcome = merge_night(days=2)
    assert (outcome.counts["compared_pairs"], outcome.details["comparison"]["sft"]) == (2, "new with all")
    assert merge_night(days=3).counts["compared_pairs"] == 0


def test_what_lost_consent_released_is_compared_though_the_night_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = three_alike()
    withdraw(pairs[2].conversation)
    with monkeypatch.context() as broken, pytest.raises(ZeroDivisionError):
        broken.setattr("maintenance.steps.merge.merge_channel", lambda *arguments, **settings: 1 / 0)
        merge_night(days=1)
    assert standing(*pairs) == [None, None, None]
    assert merge_night(days=2).counts["released_for_consent"] == 0
    assert standing(*pairs) == [1, None, None]


# People, meanwhile.


def approve(pair: SftPair) -> None:
    curation.approve(pairs=SftPair.objects.filter(pk=pair.pk), user=maren())


def reject(pair: SftPair) -> None:
    curation.reject(pairs=SftPair.objects.filter(pk=pair.pk), user=maren())


def archive(pair: SftPair) -> None:
    SftPair.objects.filter(pk=pair.pk).update(archived_at=BEGIN)


def rewrite(pair: SftPair) -> None:
    edit(pair, "something else")


@pytest.mark.parametrize("act", [reject, archive, rewrite, SftPair.delete])
def test_a_group_whose_survivor_changes_meanwhile_is_left_to_the_next_night(act: Callable[[SftPair], Any]) -> None:
    best, *others = [memory(f"good {'so ' * place}", place, reward_intensity=1 - place / 10) for place in range(3)]
    outcome = merge_night(meanwhile=lambda: act(best))
    assert standing(*others) == [None, None]
    assert (outcome.counts["sft_merged"], outcome.counts["left_for_next_night"]) == (0, 2)
    # The vector of a text that was changed is gone.
    PairEmbedding.objects.filter(sft_pair__response="something else").delete()
    later = merge_night(days=1)
    assert (later.counts["sft_merged"], later.details["comparison"]["sft"]) == (1, "new with all")
    assert standing(*others) == [None, 0]


@pytest.mark.parametrize("act", [reject, archive, rewrite, approve])
def test_a_pair_that_changes_meanwhile_is_not_merged(act: Callable[[SftPair], Any]) -> None:
    pairs = [memory(f"good {'so ' * place}", place, reward_intensity=1 - place / 10) for place in range(3)]
    outcome = merge_night(meanwhile=lambda: act(pairs[1]))
    assert standing(*pairs) == [None, None, 0]
    assert (outcome.counts["sft_merged"], outcome.counts["left_for_next_night"]) == (1, 1)


def test_an_approved_pair_takes_the_lead_the_night_after() -> None:
    pairs = [memory("good", day=1), memory("so good", 1)]
    merge_night(meanwhile=lambda: approve(pairs[1]))
    merge_night(days=1)
    assert standing(*pairs) == [1, None]


def test_a_pair_that_a_person_merges_into_a_member_meanwhile_goes_along() -> None:
    pairs = [memory("good", day=1), memory("so good", 1), memory("it is another thing", 90)]
    merging = SftPair.objects.filter(pk=pairs[2].pk)
    merge_night(meanwhile=lambda: curation.merge(pairs=merging, into=pairs[1], user=maren()))
    assert standing(*pairs) == [None, 0, 0]


def test_a_pair_that_changes_meanwhile_is_not_proposed() -> None:
    pairs = [memory("It is Rex."), memory("It is Max.", 10)]
    assert merge_night(meanwhile=lambda: reject(pairs[0])).counts["proposals"] == 0


def test_a_vector_that_is_replaced_while_they_are_read_is_not_compared() -> None:
    one, other = memory("good"), memory("so good", 1)
    night = nights.night("merge", now=BEGIN)

    def replaced(*arguments: Any, **keywords: Any) -> Pool:
        pool = read_pool(*arguments, **keywords)
        embed(other, 1)
        return pool

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_merge, "read_pool", replaced)
        record(night, merge(night))
    assert standing(one, other) == [None, None]
    merge_night()
    assert standing(one, other).count(None) == 1


# Preference pairs.


def embedder(**angles: float) -> FakeEmbedder:
    """Return an embedder of rejected answers, whose angles are given by their first word."""
    texts = [(pair.prompt[-1]["content"], pair.rejected) for pair in PreferencePair.objects.all()]
    return FakeEmbedder(
        {
            pair_text(prompt, rejected): angles[rejected.split()[0]]
            for prompt, rejected in texts
            if rejected.split()[0] in angles
        }
    )


def test_preference_pairs_are_merged_where_both_answers_are_alike() -> None:
    pairs = [
        preference("good day", "so what", margin=0.9, confidence=0.2),
        preference("a good day", "so  WHAT", 5, margin=0.8, confidence=0.9),  # the same rejected answer
        preference("what a good day", "well then", 6, margin=0.7, confidence=0.5),  # a similar one
        preference("it is a good day", "never mind the rest", 7, margin=0.6),  # another one: "never" is a fact
        preference("a day that is good", "another one", 8, margin=0.5),  # another one
    ]
    model = embedder(so=0, well=10, another=60)
    outcome = merge_night(load=lambda: model)
    assert standing(*pairs) == [None, 0, 0, None, None]
    assert (outcome.counts["preference_merged"], outcome.counts["proposals"]) == (2, 0)
    assert not any("never" in text for text in model.encoded)
    pairs[0].refresh_from_db()
    assert (pairs[0].margin, pairs[0].confidence) == (0.9, 0.9)
    assert [each["pair"] for each in pairs[0].metadata["merged"]] == [pairs[1].pk, pairs[2].pk]


def test_the_embedder_is_not_loaded_where_the_texts_tell() -> None:
    pairs = [preference("good day", "so what", day=1), preference("a good day", "So what", 5)]
    merge_night()
    assert standing(*pairs) == [None, 0]


def test_what_was_chosen_must_agree_in_facts_and_is_proposed_otherwise() -> None:
    older, newer = preference("It is Rex.", "so what"), preference("It is Max.", "so what", 5, day=1)
    merge_night()
    assert standing(older, newer) == [None, None]
    found = only_proposal()
    assert (found.preference_pair, found.other_preference_pair) == (newer, older)
    assert (found.kind, found.reason) == ("contradiction", "names: Max / Rex")


def test_one_preference_the_other_way_round_is_a_contradiction_however_unlike_the_answers() -> None:
    older = preference("good day", "oh, what a lovely day", 0)
    newer = preference("oh, what a lovely day", "Good  day", 80, day=1)
    outcome = merge_night()
    found = only_proposal()
    assert (found.preference_pair, found.other_preference_pair, found.similarity) == (newer, older, 1.0)
    assert (found.kind, found.reason) == ("contradiction", "chosen and rejected are the other way round")
    assert outcome.counts["proposals"] == 1


def test_one_preference_the_other_way_round_is_never_merged() -> None:
    pairs = [preference("good day", "so good day", 0), preference("so good day", "good day", 1, day=1)]
    model = embedder(good=0, so=1)
    merge_night(load=lambda: model)
    assert standing(*pairs) == [None, None]
    assert Proposal.objects.count() == 1
    assert merge_night(load=lambda: model, days=40).counts["proposals"] == 0


def test_a_new_preference_is_found_to_be_an_old_one_the_other_way_round() -> None:
    preference("good day", "oh, what a lovely day", 0)
    merge_night()
    assert Proposal.objects.count() == 0
    preference("oh, what a lovely day", "good day", 80)
    assert merge_night().counts["proposals"] == 1


def test_another_prompt_before_is_another_preference() -> None:
    before = [{"role": "system", "content": "be short"}, *PROMPT]
    preference("good day", "oh, what a lovely day", 0)
    preference("oh, what a lovely day", "good day", 80, prompt=before)
    assert merge_night().counts["proposals"] == 0


def dialogue(*contents: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in zip(("user", "assistant"), contents, strict=True)]


@pytest.mark.parametrize("said", ["I moved to Oslo.", "I like it cold."])
def test_after_another_dialogue_the_same_preference_is_another_one(said: str) -> None:
    prompts = [[*dialogue(told, "Noted."), *PROMPT] for told in ("I moved to Rome.", "I moved  to rome.", said)]
    pairs = [
        preference(f"yes{' so' * place} it is", "so what", place, day=-place, prompt=prompt)
        for place, prompt in enumerate(prompts)
    ]
    merge_night()
    assert standing(*pairs) == [None, 0, None]
    assert Proposal.objects.count() == 0


@pytest.mark.parametrize("is_copy", [True, False])
def test_after_another_dialogue_the_same_memory_is_another_one(is_copy: bool) -> None:
    pairs = [
        memory("yes it is" if is_copy else f"yes{' so' * place} it is", place, day=-place, context=context)
        for place, context in enumerate(
            [dialogue("I moved to Rome.", "Noted."), [], dialogue("I moved to Oslo.", "Noted."), []]
        )
    ]
    merge_night()
    assert standing(*pairs) == [None, None, None, 1]
    assert Proposal.objects.count() == 0
    assert merge_night(days=40).counts["sft_merged"] == 0


def test_what_is_too_much_to_embed_waits_for_another_night(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_EMBEDDED", 2)
    pairs = [
        preference(f"good {'so ' * place}day", f"{word} what", place, day=-place) for place, word in enumerate("abc")
    ]
    model = embedder(a=0, b=5, c=10)
    outcome = merge_night(load=lambda: model)
    assert standing(*pairs) == [None, 0, None]
    assert outcome.details["notes"] == [
        "1 preference pairs wait for another night: too many rejected answers had to be embedded."
    ]
    later = merge_night(load=lambda: model, days=1)
    assert (standing(*pairs), later.counts["compared_pairs"], later.details["notes"]) == ([None, 0, 0], 1, [])


def test_what_is_merged_all_the_same_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_EMBEDDED", 0)
    pairs = [
        preference("good day", "a what", day=2),
        preference("so good day", "b what", 1, day=1),
        preference("well good day", "b  what", 2),
    ]
    outcome = merge_night()
    assert standing(*pairs) == [None, None, 1]
    assert outcome.details["notes"][0].startswith("1 preference pairs wait")


# Reports, rehearsals, undoing.


def test_the_details_tell_of_the_least_similar_merges_and_the_first_proposals() -> None:
    memory("good", review_status="approved")
    for place in range(1, 4):
        memory(f"good {'so ' * place}" + "x" * 200, place)
    memory("It is Rex.", 90)
    memory("It is Max.", 95, day=1)
    examples = merge_night(examples=2).details["examples"]
    merged, proposed = ([each for each in examples if each["kind"] == kind] for kind in ("merged", "proposed"))
    assert [(each["channel"], each["similarity"]) for each in merged] == [("sft", 0.9986), ("sft", 0.9994)]
    assert merged[0]["texts"][1] == f"{QUESTION} → good"
    assert len(merged[0]["texts"][0]) == 120
    assert merged[0]["about"].startswith(
        f"memory pairs: {merged[0]['pairs'][0]} into {merged[0]['pairs'][1]}, similarity"
    )
    assert [each["texts"] for each in proposed] == [[f"{QUESTION} → It is Max.", f"{QUESTION} → It is Rex."]]
    assert merge_night(examples=0, full_every_days=1, days=2).details["examples"] == []


def a_bit_of_everything() -> FakeEmbedder:
    for place in range(10):
        text = ["It is Rex.", "well, good", "so, good", "sure"][place % 4]
        memory(text, 9 * place, day=place % 5, reward_intensity=0.5 + place / 100)
    preference("good day", "so what", margin=0.9)
    preference("a good day", "well then", 5, margin=0.8)
    preference("It is Rex.", "so what", 90)
    preference("so what", "It is Rex.", 40)
    return embedder(so=0, well=10)


def test_a_rehearsal_counts_what_the_night_does_and_changes_nothing(tmp_path: Path) -> None:
    model = a_bit_of_everything()
    before = [table(SftPair), table(PreferencePair)]
    with rehearsal(using="default", folder=tmp_path) as alias:
        run = MaintenanceRun(config_path="nightly.yaml", config={})
        run.save(using=alias)
        night = replace(nights.night("merge", now=BEGIN), run=run, using=alias, dry_run=True, load=lambda: model)
        rehearsed = merge(night)
    assert [table(SftPair), table(PreferencePair)] == before
    assert not Proposal.objects.exists()
    outcome = merge_night(load=lambda: model)
    assert rehearsed.counts == outcome.counts
    assert min(outcome.counts[name] for name in ("sft_merged", "preference_merged", "groups", "proposals")) > 0


def test_an_undone_night_leaves_everything_as_it_was() -> None:
    model = a_bit_of_everything()
    merge_night(load=lambda: model, max_proposals=1)
    memory("yes, good", 12, day=9)
    before = [table(SftPair), table(PreferencePair), list(Proposal.objects.values())]
    merge_night(load=lambda: model)
    assert [table(SftPair), table(PreferencePair), list(Proposal.objects.values())] != before
    report = undo(MaintenanceRun.objects.latest("pk"), artifacts=Path("/nowhere"), using="default")
    assert report.refused == []
    assert [table(SftPair), table(PreferencePair), list(Proposal.objects.values())] == before


@pytest.mark.parametrize("dies_at", range(6))
def test_a_night_that_was_killed_is_completed_by_the_next(monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    monkeypatch.setattr(writing, "_MEMBERS", 1)
    pairs = [memory("good so " * (place % 3) + "on", place, reward_intensity=1 - place / 100) for place in range(6)]
    night = nights.night("merge", now=BEGIN)
    left = [dies_at]

    def progress(text: str, share: float) -> None:
        if "merged" in text:
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit("killed")

    try:
        merge(replace(night, progress=progress))
    except SystemExit:
        MaintenanceStep.objects.update(status="interrupted")
    assert pairs[0].merged_into_id is None
    merge_night()
    assert standing(*pairs) == [None, 0, 0, 0, 0, 0]
    assert {each["pair"] for each in pairs[0].metadata["merged"]} == {pair.pk for pair in pairs[1:]}


# Whatever the order, however often.

SPECIFICATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["rex", "Rex", "Max", ""]),
            "angle": st.sampled_from([None, 0, 8, 16, 24, 32, 90]),
            "reward_intensity": st.sampled_from([0.4, 0.9]),
            "review_status": st.sampled_from(["pending", "pending", "approved", "rejected"]),
            "loss": st.sampled_from([None, 0.5]),
            "day": st.integers(0, 2),
            "extra": st.integers(0, 3),
        }
    ),
    min_size=2,
    max_size=9,
)


def store(specification: dict[str, Any]) -> SftPair:
    fields = dict(specification)
    name, words, tail = fields.pop("name"), "so " * fields.pop("extra"), "x" * int(fields["angle"] or 0)
    return memory(f"it is {name} {words}{tail}", **fields)


def who_stands_for_whom() -> Counter[tuple[str, str]]:
    """Count by the content of a pair and of the one that stands for it, itself where none does."""
    pairs = SftPair.objects.values_list("content_hash", "merged_into__content_hash")
    return Counter((content, survivor or content) for content, survivor in pairs)


def check_groups(*, beside: Collection[int] = ()) -> None:
    """Hold that every pair that left the pools has one in them that stands for it, `beside` those a person took out."""
    trainable = set(SftPair.objects.trainable().values_list("pk", flat=True))
    links = dict(SftPair.objects.exclude(merged_into=None).values_list("pk", "merged_into"))
    assert set(links.values()) <= trainable | set(beside)
    assert not links.keys() & set(links.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specifications=SPECIFICATIONS, data=st.data())
def test_the_survivors_are_the_same_in_whatever_order_pairs_were_stored(
    specifications: list[dict[str, Any]], data: st.DataObject
) -> None:
    found = []
    for order in (specifications, data.draw(st.permutations(specifications))):
        with transaction.atomic():
            for specification in order:
                store(specification)
            counts = merge_night().counts
            found.append((counts, who_stands_for_whom()))
            check_groups()
            transaction.set_rollback(True)
    assert found[0] == found[1]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specifications=SPECIFICATIONS, cut=st.integers(1, 8))
def test_comparing_what_is_new_finds_what_comparing_all_finds(specifications: list[dict[str, Any]], cut: int) -> None:
    found = []
    for days, comparison in ((1, "new with all"), (40, "full")):
        with transaction.atomic():
            for specification in specifications[:cut]:
                store(specification)
            merge_night()
            for specification in specifications[cut:]:
                store(specification)
            outcome = merge_night(days=days)
            assert outcome.details["comparison"]["sft"] == comparison
            found.append(({**outcome.counts, "compared_pairs": 0}, who_stands_for_whom()))
            transaction.set_rollback(True)
    assert found[0] == found[1]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    specifications=SPECIFICATIONS,
    cut=st.integers(0, 9),
    act=st.sampled_from([reject, archive, rewrite, approve]),
    place=st.integers(0, 8),
    moment=st.integers(0, 8),
)
def test_no_group_is_ever_empty_whatever_people_do_and_however_often_nights_come(
    specifications: list[dict[str, Any]], cut: int, act: Callable[[SftPair], None], place: int, moment: int
) -> None:
    with transaction.atomic():
        pairs = [store(each) for each in specifications[:cut]]
        merge_night()
        check_groups()
        pairs += [store(each) for each in specifications[cut:]]
        chosen = pairs[place % len(pairs)]
        moments = iter(range(moment, -1, -1))
        night = nights.night("merge", now=BEGIN)
        outcome = merge(replace(night, progress=lambda text, share: act(chosen) if next(moments, 1) == 0 else None))
        record(night, outcome)
        check_groups(beside=[chosen.pk])
        merge_night()
        # What was released goes elsewhere the night after.
        while merge_night(days=50, full_every_days=1).counts["sft_merged"]:
            check_groups(beside=[chosen.pk])
        check_groups(beside=[chosen.pk])
        before = table(SftPair)
        counts = merge_night(days=100, full_every_days=1).counts
        assert (counts["sft_merged"], counts["proposals"], counts["left_for_next_night"]) == (0, 0, 0)
        assert table(SftPair) == before
        transaction.set_rollback(True)
