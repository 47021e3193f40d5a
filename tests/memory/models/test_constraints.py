"""The database itself refuses what breaks a rule, however it is written."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.utils import timezone

from memory.models import (
    BulkChange,
    BulkDecision,
    Conversation,
    ImportBatch,
    Message,
    PairEmbedding,
    PreferencePair,
    ReplayEntry,
    SavedFilter,
    SftPair,
)
from tests.memory import rows

# For every named check: how to make a good row, and the values that break it.
CHECKS: dict[str, tuple[Callable[[], models.Model], dict[str, Any]]] = {
    "message_reward_in_unit_interval": (lambda: rows.message(rows.conversation()), {"reward_intensity": 1.01}),
    "message_loss_not_negative": (lambda: rows.message(rows.conversation()), {"loss": -0.01}),
    "message_rating_up_or_down": (lambda: rows.message(rows.conversation()), {"rating": 0}),
    "message_role_known": (lambda: rows.message(rows.conversation()), {"role": "human"}),
    "message_kind_known": (lambda: rows.message(rows.conversation()), {"kind": "dream"}),
    "import_batch_status_known": (rows.import_batch, {"status": "broken"}),
    "replay_reward_in_unit_interval": (rows.replay_entry, {"reward_intensity": -0.01}),
    "replay_kind_known": (rows.replay_entry, {"kind": "dream"}),
    "replay_introspection_is_internal": (rows.replay_entry, {"kind": "introspection"}),
    "embedding_of_exactly_one_pair": (lambda: rows.embedding(rows.sft_pair()), {"sft_pair": None}),
    "embedding_dimension_positive": (lambda: rows.embedding(rows.sft_pair()), {"dimension": 0}),
    "sftpair_confidence_in_unit_interval": (rows.sft_pair, {"confidence": 1.01}),
    "sftpair_sampling_weight_in_unit_interval": (rows.sft_pair, {"sampling_weight": -0.01}),
    "sftpair_review_status_known": (rows.sft_pair, {"review_status": "maybe"}),
    "sftpair_not_merged_into_itself": (rows.sft_pair, {"merged_into": F("id")}),
    "sftpair_use_has_time_and_epoch": (rows.sft_pair, {"is_used": True}),
    "sftpair_instruction_long_enough": (rows.sft_pair, {"instruction": "?"}),
    "sftpair_response_long_enough": (rows.sft_pair, {"response": "!"}),
    "sftpair_source_known": (rows.sft_pair, {"source": "rumour"}),
    "sftpair_reward_in_unit_interval": (rows.sft_pair, {"reward_intensity": 1.01}),
    "sftpair_loss_not_negative": (rows.sft_pair, {"loss": -0.01}),
    "preferencepair_confidence_in_unit_interval": (rows.preference_pair, {"confidence": -0.01}),
    "preferencepair_sampling_weight_in_unit_interval": (rows.preference_pair, {"sampling_weight": 1.01}),
    "preferencepair_review_status_known": (rows.preference_pair, {"review_status": "maybe"}),
    "preferencepair_not_merged_into_itself": (rows.preference_pair, {"merged_into": F("id")}),
    "preferencepair_use_has_time_and_epoch": (rows.preference_pair, {"is_used": True}),
    "preferencepair_chosen_long_enough": (rows.preference_pair, {"chosen": "!"}),
    "preferencepair_rejected_long_enough": (rows.preference_pair, {"rejected": "!"}),
    "preferencepair_answers_differ": (rows.preference_pair, {"rejected": F("chosen")}),
    "preferencepair_source_known": (rows.preference_pair, {"source": "rumour"}),
    "preferencepair_margin_in_unit_interval": (rows.preference_pair, {"margin": 1.01}),
    "exportedpair_channel_known": (rows.exported_pair, {"channel": "rumour"}),
    "bulkdecision_channel_known": (lambda: bulk_decision(), {"channel": "rumour"}),
    "bulkdecision_action_known": (lambda: bulk_decision(), {"action": "praise"}),
    "bulkdecision_undone_after_begin": (lambda: bulk_decision(), {"undone_at": timezone.now()}),
}

# For every named uniqueness: how to make two rows of which the second must not be.
UNIQUE: dict[str, Callable[[], object]] = {
    "conversation_source_id_unique": lambda: [rows.conversation("c1"), rows.conversation("c1")],
    "message_external_id_unique": lambda: [
        rows.message(talk, "m1") for talk in [rows.conversation()] for _ in range(2)
    ],
    "exportedpair_once": lambda: [rows.exported_pair(content_hash=name) for name in "ab"],
    "bulkchange_pair_once": lambda: [
        BulkChange.objects.create(decision=decision, pair_id=1) for decision in [bulk_decision()] for _ in range(2)
    ],
    "savedfilter_name_once": lambda: [
        SavedFilter.objects.create(owner=person, model="memory.sftpair", name="new", query="")
        for person in [get_user_model().objects.create_user("anna")]
        for _ in range(2)
    ],
    "preferencepair_content_unique": lambda: [rows.preference_pair(), rows.preference_pair(source="edit")],
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", CHECKS)
def test_a_row_that_breaks_a_check_is_refused_by_name(name: str) -> None:
    make, values = CHECKS[name]
    row = make()
    with pytest.raises(IntegrityError, match=rf"\b{name}\b"), transaction.atomic():
        type(row)._default_manager.filter(pk=row.pk).update(**values)


@pytest.mark.django_db
@pytest.mark.parametrize("name", UNIQUE)
def test_a_second_row_of_the_same_kind_is_refused(name: str) -> None:
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        UNIQUE[name]()
    # SQLite names the columns of a unique constraint, not the constraint.
    assert (name if connection.vendor == "postgresql" else columns_of(name)) in str(refused.value)


def test_every_named_constraint_of_the_memory_is_violated_here() -> None:
    assert {*CHECKS, *UNIQUE} == {constraint.name for model in own_models() for constraint in model._meta.constraints}


def test_the_limits_themselves_are_allowed(db: None) -> None:
    rows.sft_pair(confidence=0.0, sampling_weight=0.0, reward_intensity=0.0, loss=0.0, instruction="Hi", response="Ho")
    rows.sft_pair(confidence=1.0, sampling_weight=1.0, reward_intensity=1.0)
    rows.preference_pair(margin=0.0, chosen="Ja", rejected="Ne")
    rows.preference_pair(margin=1.0)
    assert (SftPair.objects.count(), PreferencePair.objects.count()) == (2, 2)


def columns_of(name: str) -> str:
    for model in own_models():
        for constraint in model._meta.constraints:
            if constraint.name == name:
                assert isinstance(constraint, models.UniqueConstraint)
                fields = [model._meta.get_field(field) for field in constraint.fields]
                return ", ".join(f"{model._meta.db_table}.{field.column}" for field in fields)  # type: ignore[union-attr]
    raise AssertionError(name)


def bulk_decision() -> BulkDecision:
    return BulkDecision.objects.create(channel="sft", action="approve", lowest_id=1, next_id=9)


def own_models() -> list[type[models.Model]]:
    found = list(apps.get_app_config("memory").get_models())
    assert {Conversation, Message, SftPair, PreferencePair, ReplayEntry, PairEmbedding, ImportBatch} <= set(found)
    return found
