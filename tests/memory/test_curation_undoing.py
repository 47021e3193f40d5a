"""A person's last decision on a pair, taken back."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import bulk_decisions, curation
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import record
from memory.models import PairEmbedding, PreferencePair, SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}
ARCHIVED: dict[str, Any] = {"archived_at": datetime(2026, 5, 1, tzinfo=UTC)}
Act = Callable[[Any, User], Any]


@pytest.fixture
def curator() -> User:
    return User.objects.create(username="curator")


def rows_of(pair: SftPair | PreferencePair) -> Any:
    return type(pair)._default_manager.filter(pk=pair.pk)


def stored(pair: SftPair | PreferencePair) -> dict[str, Any]:
    return dict(rows_of(pair).values().get())


DECISIONS: dict[str, tuple[Callable[[], Any], Act]] = {
    "approved": (rows.sft_pair, lambda pair, user: curation.approve(pairs=rows_of(pair), user=user)),
    "rejected": (rows.preference_pair, lambda pair, user: curation.reject(pairs=rows_of(pair), user=user)),
    "re-emitted: why": (
        lambda: rows.sft_pair(**USED),
        lambda pair, user: curation.reemit(pairs=rows_of(pair), user=user, reason="why"),
    ),
    "taken out of the archive": (
        lambda: rows.sft_pair(**ARCHIVED),
        lambda pair, user: curation.unarchive(pairs=rows_of(pair), user=user),
    ),
    "edited response": (
        lambda: rows.sft_pair(**USED),
        lambda pair, user: curation.edit(pair=pair, field="response", text="Biscuit.", user=user),
    ),
    "edited chosen": (
        lambda: rows.preference_pair(**USED),
        lambda pair, user: curation.edit(pair=pair, field="chosen", text="Good day.", user=user),
    ),
    "swapped": (lambda: rows.preference_pair(**USED), lambda pair, user: curation.swap(pair=pair, user=user)),
    "tie: neither answer is better": (rows.preference_pair, lambda pair, user: curation.tie(pair=pair, user=user)),
    "edited": (rows.sft_pair, lambda pair, user: saved(pair, user)),
}


def saved(pair: SftPair, user: User) -> None:
    pair.instruction, pair.confidence, pair.category = "Who?", 0.5, "names"
    pair.context = [{"role": "user", "content": "Hi"}]
    curation.save(pair=pair, user=user)


@pytest.mark.parametrize("what", DECISIONS)
def test_a_pair_is_as_it_was(what: str, curator: User) -> None:
    make, decide = DECISIONS[what]
    pair = make()
    before = stored(pair)
    decide(pair, curator)
    assert stored(pair) != before
    undone = curation.undo(pair=pair, user=curator)
    assert stored(pair) == before
    assert {name: getattr(pair, name) for name in before} == before
    assert (undone.what, set(undone.columns) <= before.keys()) == (what, True)
    newest = pair.history.first()
    assert newest.history_user == curator
    assert newest.history_change_reason.startswith("took back record ")
    assert newest.history_change_reason.endswith(f": {what}")
    assert not PreferencePair.objects.exclude(pk=pair.pk).exists()


@pytest.mark.parametrize("what", DECISIONS)
def test_what_training_did_before_the_decision_stays(what: str, curator: User) -> None:
    make, decide = DECISIONS[what]
    pair = make()
    curation.save(pair=pair, user=curator)
    pair.confidence = 0.75
    curation.save(pair=pair, user=curator)
    rows_of(pair).update(**{**USED, "training_epoch": 7})
    pair.refresh_from_db()
    before = stored(pair)
    decide(pair, curator)
    curation.undo(pair=pair, user=curator)
    assert stored(pair) == before


def test_each_undo_goes_one_decision_further_back_and_no_further_than_the_first_state(curator: User) -> None:
    pair = rows.sft_pair()
    states = [stored(pair)]
    for act in ("approved", "edited response", "rejected"):
        DECISIONS[act][1](pair, curator)
        states.append(stored(pair))
    for state in reversed(states[:-1]):
        curation.undo(pair=pair, user=curator)
        assert stored(pair) == state
    with pytest.raises(curation.UndoRefusedError, match=f"pair {pair.pk}: no decision to take back"):
        curation.undo(pair=pair, user=curator)
    assert stored(pair) == states[0]


def test_decisions_between_undos_are_taken_back_in_their_order(curator: User) -> None:
    pair = rows.sft_pair()
    first = stored(pair)
    curation.approve(pairs=rows_of(pair), user=curator)
    approved = stored(pair)
    curation.reject(pairs=rows_of(pair), user=curator)
    curation.undo(pair=pair, user=curator)
    curation.edit(pair=pair, field="response", text="Biscuit.", user=curator)
    curation.undo(pair=pair, user=curator)
    assert stored(pair) == approved
    curation.undo(pair=pair, user=curator)
    assert stored(pair) == first


def test_a_pair_that_nobody_decided_on_has_nothing_to_undo(curator: User) -> None:
    pair = rows.sft_pair()
    with pytest.raises(curation.UndoRefusedError, match="no decision to take back"):
        curation.undo(pair=pair, user=curator)
    assert not pair.history.exists()


def test_another_persons_decision_is_not_taken_back(curator: User) -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=rows_of(pair), user=curator)
    curation.reject(pairs=rows_of(pair), user=User.objects.create(username="other"))
    with pytest.raises(curation.UndoRefusedError) as refusal:
        curation.undo(pair=pair, user=curator)
    assert str(refusal.value) == (
        f"pair {pair.pk}: last decided by other (rejected), allowed is to take back one's own decision"
    )
    assert stored(pair)["review_status"] == "rejected"


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (USED, "is_used, used_timestamp, training_epoch"),
        (ARCHIVED, "archived_at"),
        ({"response": "Crumb."}, "response"),
        ({"metadata": {"merged": {}}}, "metadata"),
    ],
)
def test_a_pair_that_the_machine_changed_since_is_left_alone(
    change: dict[str, Any], columns: str, curator: User
) -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=rows_of(pair), user=curator)
    SftPair.objects.update(**change)
    before = stored(pair)
    with pytest.raises(curation.UndoRefusedError) as refusal:
        curation.undo(pair=pair, user=curator)
    found = str(refusal.value).split("(")
    assert found[0] == f"pair {pair.pk}: changed since by training or a night "
    assert set(found[1].rstrip(")").split(", ")) == set(columns.split(", "))
    assert stored(pair) == before


def test_a_pair_that_extraction_renewed_since_is_left_alone(curator: User) -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=rows_of(pair), user=curator)
    SftPair.objects.update(reward_intensity=1.0)
    record(SftPair.objects.all(), kind="~", user=None, reason=BY_EXTRACTION)
    with pytest.raises(curation.UndoRefusedError, match="changed since by extraction"):
        curation.undo(pair=pair, user=curator)
    assert stored(pair)["review_status"] == "approved"


def test_no_undo_goes_back_across_what_the_machine_did(curator: User) -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=rows_of(pair), user=curator)
    SftPair.objects.update(**USED)
    curation.reemit(pairs=rows_of(pair), user=curator)
    curation.undo(pair=pair, user=curator)
    with pytest.raises(curation.UndoRefusedError, match="changed since by training or a night"):
        curation.undo(pair=pair, user=curator)
    assert (stored(pair)["review_status"], stored(pair)["is_used"]) == ("approved", True)


def test_the_preference_that_an_edit_made_goes_and_that_of_the_edit_before_comes_back(curator: User) -> None:
    pair = rows.sft_pair()
    curation.edit(pair=pair, field="response", text="Biscuit.", user=curator)
    curation.edit(pair=pair, field="response", text="Crumb.", user=curator)
    curation.undo(pair=pair, user=curator)
    assert [(made.chosen, made.rejected) for made in PreferencePair.objects.all()] == [("Biscuit.", "Pixel.")]
    curation.undo(pair=pair, user=curator)
    assert not PreferencePair.objects.exists()


def test_the_preference_of_an_edit_follows_the_instruction_and_the_context(curator: User) -> None:
    pair = rows.sft_pair()
    curation.edit(pair=pair, field="response", text="Biscuit.", user=curator)
    curation.edit(pair=pair, field="instruction", text="And my cat?", user=curator)
    pair.context = [{"role": "user", "content": "Hi"}]
    curation.save(pair=pair, user=curator)
    curation.edit(pair=pair, field="response", text="Crumb.", user=curator)
    prompts = [[*pair.context, {"role": "user", "content": "And my cat?"}]]
    prompts += [[{"role": "user", "content": text}] for text in ("And my cat?", "What is my dog called?")]
    assert [(made.prompt, made.chosen) for made in PreferencePair.objects.all()] == [(prompts[0], "Crumb.")]
    for prompt in prompts:
        curation.undo(pair=pair, user=curator)
        assert [(made.prompt, made.chosen) for made in PreferencePair.objects.all()] == [(prompt, "Biscuit.")]
    curation.undo(pair=pair, user=curator)
    assert not PreferencePair.objects.exists()


def test_a_preference_that_was_used_since_stays(curator: User) -> None:
    pair = rows.sft_pair()
    curation.edit(pair=pair, field="response", text="Biscuit.", user=curator)
    PreferencePair.objects.update(**USED)
    curation.undo(pair=pair, user=curator)
    assert stored(pair)["response"] == "Pixel."
    assert PreferencePair.objects.exists()


def test_the_vector_of_a_text_that_goes_back_is_dropped(curator: User) -> None:
    pair = rows.sft_pair()
    curation.edit(pair=pair, field="response", text="Biscuit.", user=curator)
    rows.embedding(pair)
    curation.undo(pair=pair, user=curator)
    assert not PairEmbedding.objects.exists()


def test_the_vector_stays_where_only_the_review_goes_back(curator: User) -> None:
    pair = rows.sft_pair()
    rows.embedding(pair)
    curation.approve(pairs=rows_of(pair), user=curator)
    curation.undo(pair=pair, user=curator)
    assert PairEmbedding.objects.exists()


def test_texts_that_another_pair_has_by_now_do_not_come_back(curator: User) -> None:
    pair = rows.preference_pair()
    curation.edit(pair=pair, field="chosen", text="Good day.", user=curator)
    rows.preference_pair()
    with pytest.raises(curation.UndoRefusedError) as refusal:
        curation.undo(pair=pair, user=curator)
    assert str(refusal.value) == f"pair {pair.pk}: another pair has the texts that it had before"
    assert stored(pair)["chosen"] == "Good day."


def test_a_merge_is_taken_back_with_those_that_went_along(curator: User) -> None:
    first, second, other = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    follower, others_follower = rows.sft_pair(merged_into=first), rows.sft_pair(merged_into=other)
    curation.merge(pairs=SftPair.objects.filter(pk__in=[first.pk, other.pk]), into=second, user=curator)
    curation.undo(pair=first, user=curator)
    merged = dict(SftPair.objects.values_list("pk", "merged_into"))
    assert merged == {
        first.pk: None,
        second.pk: None,
        other.pk: second.pk,
        follower.pk: first.pk,
        others_follower.pk: second.pk,
    }


def test_those_that_went_along_have_one_merge_less_to_take_back(curator: User) -> None:
    follower, pair, survivor = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    curation.merge(pairs=rows_of(follower), into=pair, user=curator)
    curation.merge(pairs=rows_of(pair), into=survivor, user=curator)
    went = follower.history.first().history_id
    curation.reject(pairs=rows_of(follower), user=curator)
    curation.undo(pair=pair, user=curator)
    assert follower.history.first().history_change_reason == f"took back record {went}: merged into {survivor.pk}"
    assert [curation.undo(pair=follower, user=curator).what for _ in range(2)] == ["rejected", f"merged into {pair.pk}"]
    assert (stored(follower)["merged_into_id"], stored(follower)["review_status"]) == (None, "pending")


def test_who_was_merged_there_by_itself_since_does_not_go_back_along(curator: User) -> None:
    follower, pair, survivor, other = (rows.sft_pair() for _ in range(4))
    for merged, into in ((follower, pair), (pair, survivor), (follower, other), (follower, survivor)):
        curation.merge(pairs=rows_of(merged), into=into, user=curator)
    curation.undo(pair=pair, user=curator)
    assert stored(follower)["merged_into_id"] == survivor.pk


def test_a_bulk_decision_that_was_undone_is_no_decision_to_take_back(curator: User) -> None:
    pair = rows.sft_pair(**USED)
    curation.approve(pairs=rows_of(pair), user=curator)
    somebody = User.objects.create(username="somebody")
    decision = bulk_decisions.decide_selected(pairs=rows_of(pair), action="reemit", user=somebody, reason="x" * 60)
    assert decision is not None
    made = pair.history.first().history_id
    bulk_decisions.undo(decision, user=somebody)
    said = f"took back record {made}: bulk {decision.pk}: re-emitted: {'x' * 60}"
    assert pair.history.first().history_change_reason == said[:100]
    assert curation.undo(pair=pair, user=curator).what == "approved"
    with pytest.raises(curation.UndoRefusedError, match="no decision to take back"):
        curation.undo(pair=pair, user=curator)


def test_no_undo_goes_back_across_what_training_did_before_a_bulk_decision_that_was_undone(curator: User) -> None:
    pair = rows.sft_pair()
    curation.approve(pairs=rows_of(pair), user=curator)
    SftPair.objects.update(**USED)
    decision = bulk_decisions.decide_selected(pairs=rows_of(pair), action="reject", user=curator)
    assert decision is not None
    bulk_decisions.undo(decision, user=curator)
    with pytest.raises(curation.UndoRefusedError, match="changed since by training or a night"):
        curation.undo(pair=pair, user=curator)


def test_a_pair_does_not_go_back_to_one_that_is_merged_away_itself(curator: User) -> None:
    first, second, third = rows.sft_pair(), rows.sft_pair(), rows.sft_pair()
    pair = rows.sft_pair(merged_into=first)
    curation.merge(pairs=rows_of(pair), into=second, user=curator)
    assert curation.can_undo(pair=SftPair.objects.get(pk=pair.pk), user=curator)
    curation.merge(pairs=rows_of(first), into=third, user=curator)
    assert not curation.can_undo(pair=SftPair.objects.get(pk=pair.pk), user=curator)
    with pytest.raises(curation.UndoRefusedError) as refusal:
        curation.undo(pair=pair, user=curator)
    assert str(refusal.value) == (
        f"pair {pair.pk}: pair {first.pk}, which stood for it before, is merged away itself, or gone"
    )


@pytest.mark.parametrize("what", ["approved", "edited response", "swapped"])
def test_an_undo_takes_the_same_queries_whatever_the_history(what: str, curator: User) -> None:
    make, decide = DECISIONS[what]
    pair = make()
    counts = []
    for _ in range(4):
        decide(pair, curator)
        with CaptureQueriesContext(connection) as captured:
            curation.undo(pair=pair, user=curator)
        counts.append(len(captured))
    assert len(set(counts)) == 1
