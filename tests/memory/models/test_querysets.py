"""Sets of pairs by name: stored, filtered and marked in a fixed number of queries."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory.models import PreferencePair, SftPair
from tests.memory import rows

pytestmark = pytest.mark.django_db
MAY = datetime(2026, 5, 1, tzinfo=UTC)
USED: dict[str, Any] = {"is_used": True, "used_timestamp": MAY, "training_epoch": 0}


def many_sft_pairs(count: int) -> list[SftPair]:
    return [rows.unsaved_sft_pair(instruction=f"Question {number}", created_at=MAY) for number in range(count)]


def many_preference_pairs(count: int) -> list[PreferencePair]:
    return [rows.unsaved_preference_pair(chosen=f"Answer {number}", created_at=MAY) for number in range(count)]


def queries(act: Callable[[], object]) -> int:
    """Return how many statements `act` takes, those that open and close its transaction left out."""
    with CaptureQueriesContext(connection) as captured:
        act()
    return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")) for query in captured)


class TestInsert:
    @pytest.mark.parametrize("count", [3, 3_000])
    def test_memory_pairs_are_stored_by_one_query_whatever_the_count(self, count: int) -> None:
        pairs = many_sft_pairs(count)
        assert queries(lambda: SftPair.objects.insert(pairs)) == 1
        assert SftPair.objects.count() == count

    @pytest.mark.parametrize("count", [3, 3_000])
    def test_preference_pairs_are_stored_by_one_query_whatever_the_count(self, count: int) -> None:
        pairs = many_preference_pairs(count)
        assert queries(lambda: PreferencePair.objects.insert(pairs)) == 1
        assert PreferencePair.objects.count() == count

    def test_the_number_of_stored_pairs_is_returned(self) -> None:
        assert SftPair.objects.insert(many_sft_pairs(3)) == 3
        assert SftPair.objects.insert([]) == 0

    def test_every_field_comes_back_as_it_went_in(self) -> None:
        talk = rows.conversation()
        question, answer = rows.message(talk, "m1", role="user"), rows.message(talk, "m2")
        fields: dict[str, Any] = {
            "conversation": talk,
            "instruction": "Wie heißt mein Hund?",
            "response": "Pixel 🐕",
            "context": [{"role": "system", "content": "Be brief."}],
            "source": "import",
            "category": "facts",
            "confidence": 0.25,
            "reward_intensity": 0.75,
            "sampling_weight": 0.5,
            "loss": 1.5,
            "review_status": "approved",
            "created_at": MAY,
            "metadata": {"branch": ["a", 1, None]},
            "is_used": True,
            "used_timestamp": MAY + timedelta(days=1),
            "training_epoch": 3,
            "user_message": question,
            "assistant_message": answer,
            "merged_into": rows.sft_pair(),
            "archived_at": MAY + timedelta(days=2),
        }
        SftPair.objects.insert([rows.unsaved_sft_pair(**fields)])
        stored = SftPair.objects.get(source="import")
        assert {name: getattr(stored, name) for name in fields} == fields
        untold = {"id", "content_hash"}
        assert {field.name for field in SftPair._meta.concrete_fields} == {*fields, *untold}

    def test_one_bad_pair_keeps_all_out_and_is_named_by_row(self) -> None:
        pairs = [*many_sft_pairs(2), rows.unsaved_sft_pair(response=" ", confidence=2.0)]
        with pytest.raises(ValidationError) as refused:
            SftPair.objects.insert(pairs)
        assert refused.value.messages == [
            "row 2: response: got 0 characters, allowed 2 or more",
            "row 2: confidence: got 2.0, allowed 0 to 1",
        ]
        assert not SftPair.objects.exists()

    def test_a_broken_prompt_is_named_by_row(self) -> None:
        with pytest.raises(ValidationError) as refused:
            PreferencePair.objects.insert([rows.unsaved_preference_pair(prompt=[])])
        assert refused.value.messages == ["row 0: prompt: got [], allowed a list of 1 or more messages"]

    def test_pairs_of_a_message_that_has_one_are_passed_over_and_not_counted(self) -> None:
        answer = rows.message(rows.conversation())
        first = rows.sft_pair(assistant_message=answer)
        again = rows.unsaved_sft_pair(assistant_message=answer, response="Biscuit.")
        assert SftPair.objects.insert([again, *many_sft_pairs(2)], skip_existing=True) == 2
        assert SftPair.objects.get(assistant_message=answer).response == first.response

    def test_preferences_of_stored_content_are_passed_over_also_within_one_call(self) -> None:
        rows.preference_pair()
        pairs = [rows.unsaved_preference_pair(), *many_preference_pairs(2), *many_preference_pairs(2)]
        assert PreferencePair.objects.insert(pairs, skip_existing=True) == 2
        assert PreferencePair.objects.count() == 3

    def test_without_skipping_a_second_pair_of_a_message_keeps_all_out(self) -> None:
        answer = rows.message(rows.conversation())
        pairs = [rows.unsaved_sft_pair(assistant_message=answer) for _ in range(2)]
        with pytest.raises(IntegrityError), transaction.atomic():
            SftPair.objects.insert([*many_sft_pairs(2), *pairs])
        assert not SftPair.objects.exists()


class TestMarkUsed:
    @pytest.mark.parametrize("count", [3, 3_000])
    def test_pairs_are_marked_by_one_query_whatever_the_count(self, count: int) -> None:
        SftPair.objects.insert(many_sft_pairs(count))
        ids = list(SftPair.objects.values_list("pk", flat=True))
        assert queries(lambda: SftPair.objects.mark_used(ids, training_epoch=0)) == 1
        assert SftPair.objects.used().count() == count

    def test_more_ids_than_a_statement_has_parameters_are_marked(self) -> None:
        SftPair.objects.insert(many_sft_pairs(40_000))
        ids = list(SftPair.objects.values_list("pk", flat=True))
        assert SftPair.objects.mark_used(ids, training_epoch=1) == 40_000
        assert not SftPair.objects.unused().exists()

    def test_epoch_and_time_are_recorded_for_those_pairs_alone(self) -> None:
        used, other = rows.preference_pair(), rows.preference_pair(chosen="Hi there.")
        assert PreferencePair.objects.mark_used([used.pk], training_epoch=4, used_timestamp=MAY) == 1
        used.refresh_from_db()
        other.refresh_from_db()
        assert (used.is_used, used.training_epoch, used.used_timestamp) == (True, 4, MAY)
        assert (other.is_used, other.training_epoch, other.used_timestamp) == (False, None, None)

    def test_the_time_is_now_where_none_is_given(self) -> None:
        pair = rows.sft_pair()
        before = timezone.now()
        SftPair.objects.mark_used([pair.pk], training_epoch=0)
        pair.refresh_from_db()
        assert pair.used_timestamp is not None
        assert before <= pair.used_timestamp <= timezone.now()

    def test_ids_of_no_pair_are_not_counted(self) -> None:
        pair = rows.sft_pair()
        assert SftPair.objects.mark_used([pair.pk, pair.pk + 1], training_epoch=0) == 1
        assert SftPair.objects.mark_used([], training_epoch=0) == 0


# For every filter of memory pairs: the limit, a pair inside it, a pair just outside.
SFT_FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "one source": ({"source": "manual"}, {"source": "manual"}, {"source": "import"}),
    "several sources": ({"source": ["manual", "import"]}, {"source": "import"}, {"source": "conversation"}),
    "unused": ({"is_used": False}, {}, USED),
    "used": ({"is_used": True}, USED, {}),
    "since": ({"since": MAY}, {"created_at": MAY}, {"created_at": MAY - timedelta(microseconds=1)}),
    "instruction length": ({"min_instruction_length": 5}, {"instruction": "Größe"}, {"instruction": "Größ"}),
    "response length": ({"min_response_length": 5}, {"response": "🐕🐕🐕🐕🐕"}, {"response": "🐕🐕🐕🐕"}),
    "confidence": ({"min_confidence": 0.5}, {"confidence": 0.5}, {"confidence": 0.49}),
    "reward": ({"min_reward": 0.5}, {"reward_intensity": 0.5}, {"reward_intensity": 0.49}),
    "review": ({"review_status": ["approved"]}, {"review_status": "approved"}, {"review_status": "pending"}),
}
PREFERENCE_FILTERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "one source": ({"source": "edit"}, {"source": "edit"}, {"source": "replay"}),
    "used": ({"is_used": True}, USED, {}),
    "since": ({"since": MAY}, {"created_at": MAY}, {"created_at": MAY - timedelta(microseconds=1)}),
    "length of chosen": ({"min_response_length": 5}, {"chosen": "Right"}, {"chosen": "Okay"}),
    "length of rejected": ({"min_response_length": 5}, {"rejected": "Wrong"}, {"rejected": "Nope"}),
    "confidence": ({"min_confidence": 0.5}, {"confidence": 0.5}, {"confidence": 0.49}),
    "margin": ({"min_reward": 0.5}, {"margin": 0.5}, {"margin": 0.49}),
    "review": ({"review_status": ["approved"]}, {"review_status": "approved"}, {"review_status": "pending"}),
}


class TestMatching:
    @pytest.mark.parametrize("name", SFT_FILTERS)
    def test_a_filter_keeps_memory_pairs_on_its_limit_and_drops_those_beyond(self, name: str) -> None:
        limit, inside, outside = SFT_FILTERS[name]
        kept = rows.sft_pair(**inside)
        rows.sft_pair(**outside)
        assert list(SftPair.objects.matching(**limit)) == [kept]

    @pytest.mark.parametrize("name", PREFERENCE_FILTERS)
    def test_a_filter_keeps_preference_pairs_on_its_limit_and_drops_those_beyond(self, name: str) -> None:
        limit, inside, outside = PREFERENCE_FILTERS[name]
        kept = rows.preference_pair(**inside)
        rows.preference_pair(**{"chosen": "Another answer.", **outside})
        assert list(PreferencePair.objects.matching(**limit)) == [kept]

    def test_without_a_filter_every_pair_is_returned(self) -> None:
        stored = {rows.sft_pair(), rows.sft_pair(**USED)}
        assert set(SftPair.objects.matching()) == stored

    def test_the_limit_keeps_the_newest(self) -> None:
        old = rows.sft_pair(created_at=MAY)
        new, newest = (rows.sft_pair(created_at=MAY + timedelta(days=days)) for days in (1, 2))
        assert list(SftPair.objects.matching(limit=2)) == [newest, new]
        assert list(SftPair.objects.matching(limit=9)) == [newest, new, old]
        assert list(SftPair.objects.matching(limit=0)) == []

    def test_all_filters_together_are_one_query(self) -> None:
        filters: dict[str, Any] = {
            "source": "manual",
            "is_used": False,
            "since": MAY,
            "min_instruction_length": 2,
            "min_response_length": 2,
            "min_confidence": 0.1,
            "limit": 5,
        }
        kept = rows.sft_pair(source="manual")
        assert queries(lambda: list(SftPair.objects.matching(**filters))) == 1
        assert list(SftPair.objects.matching(**filters)) == [kept]


class TestTrainable:
    @pytest.mark.parametrize("status", ["pending", "approved"])
    def test_a_pair_that_nobody_rejected_may_be_trained(self, status: str) -> None:
        pair = rows.sft_pair(review_status=status, conversation=rows.conversation())
        assert list(SftPair.objects.trainable()) == [pair]

    @pytest.mark.parametrize(
        "fields", [{"review_status": "rejected"}, {"sampling_weight": 0.0}, {"reward_intensity": 0.0}]
    )
    def test_a_pair_judged_bad_is_not_trained(self, fields: dict[str, Any]) -> None:
        rows.sft_pair(**fields)
        assert not SftPair.objects.trainable().exists()

    def test_a_pair_merged_away_is_not_trained_but_the_one_that_stands_for_it(self) -> None:
        survivor = rows.sft_pair()
        rows.sft_pair(merged_into=survivor)
        assert list(SftPair.objects.trainable()) == [survivor]

    def test_an_archived_pair_is_not_trained(self) -> None:
        rows.sft_pair(archived_at=MAY)
        rows.preference_pair(archived_at=MAY)
        assert not SftPair.objects.trainable().exists()
        assert not PreferencePair.objects.trainable().exists()

    def test_a_pair_whose_conversation_lost_consent_is_not_trained(self) -> None:
        talk = rows.conversation(training_allowed=False)
        rows.sft_pair(conversation=talk)
        rows.preference_pair(conversation=talk)
        assert not SftPair.objects.trainable().exists()
        assert not PreferencePair.objects.trainable().exists()

    def test_a_rejected_preference_pair_is_not_trained(self) -> None:
        rows.preference_pair(review_status="rejected")
        kept = rows.preference_pair(chosen="Hi there.")
        assert list(PreferencePair.objects.trainable()) == [kept]
