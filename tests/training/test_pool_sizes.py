"""What is counted without texts is what would be selected with them."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from memory.models import PreferencePair, SftPair
from tests.training.rows import conversation, preference_pairs, sft_pairs
from training.config import TrainingConfig
from training.pool_sizes import PoolSize, PoolSizes, check_sizes, pool_sizes
from training.selection import NotEnoughPairs, preference_pool, select_pools, sft_pool

pytestmark = pytest.mark.django_db


def config(**changes: Any) -> TrainingConfig:
    base = {"model_name_or_path": "any", "evaluation": {"validation_share": 0.4}}
    return TrainingConfig.model_validate({**base, **changes})


def selected(settings: TrainingConfig) -> PoolSizes:
    sft, preference = sft_pool(settings), preference_pool(settings)
    return PoolSizes(
        PoolSize(len(sft.train), len(sft.held_out)), PoolSize(len(preference.train), len(preference.held_out))
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from([0.0, 0.4, 1.0]), st.booleans()), max_size=12
    ),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([None, 3]),
    st.sampled_from([None, {"drafts": 0}, {"replay": 0}]),
)
def test_the_counts_are_those_of_the_selection(
    pairs: list[tuple[int, int, float, bool]], min_confidence: float, limit: int | None, shares: dict[str, float] | None
) -> None:
    SftPair.objects.all().delete()
    PreferencePair.objects.all().delete()
    talks = [conversation(f"talk {len(pairs)} {number} {id(pairs)}") for number in range(6)]
    for talk, text, confidence, is_used in pairs:
        used: dict[str, Any] = (
            {"is_used": True, "used_timestamp": timezone.now(), "training_epoch": 0} if is_used else {}
        )
        (pair,) = sft_pairs(1, conversation=talks[talk], confidence=confidence, **used)
        # The same text in several conversations.
        SftPair.objects.filter(pk=pair.pk).update(content_hash=f"{text}" * 64)
        source = "replay" if text == 0 else "rating"
        preference_pairs(1, conversation=talks[talk], confidence=confidence, source=source, **used)
    filters = {"min_confidence": min_confidence, "limit": limit}
    chosen = config(sft_filters=filters, preference_filters=filters, preference_shares=shares)
    assert pool_sizes(chosen, using="default") == selected(chosen)
    everything = {**filters, "unused_only": False}
    lenient = config(sft_filters=everything, preference_filters=everything, preference_shares=shares)
    assert pool_sizes(lenient, using="default") == selected(lenient)
    assert pool_sizes(lenient, using="default", unused_only=True) == selected(chosen)


def test_pairs_of_a_file_all_count(tmp_path: Path, settings: Settings) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "memory.jsonl").write_text(
        '{"prompt": "one", "completion": "two"}\n{"prompt": "three", "completion": "four"}\n'
    )
    sft_pairs(5)
    chosen = config(sft_jsonl="memory.jsonl", evaluation={"validation_share": 0})
    assert pool_sizes(chosen, using="default", unused_only=True).sft == PoolSize(2, 0)


@pytest.mark.parametrize("sft", [0, 3, 8])
@pytest.mark.parametrize("preference", [0, 3, 8])
@pytest.mark.parametrize("changes", [{}, {"allow_one_channel": True}, {"sft_weight": 0.0, "preference_weight": 1.0}])
def test_sizes_are_refused_in_the_words_of_the_selection(sft: int, preference: int, changes: dict[str, Any]) -> None:
    sft_pairs(sft)
    preference_pairs(preference)
    chosen = config(min_sft_pairs=4, min_preference_pairs=4, evaluation={"validation_share": 0}, **changes)

    def refusal(call: Any) -> str:
        try:
            call()
        except NotEnoughPairs as few:
            return str(few)
        return ""

    sizes = pool_sizes(chosen, using="default")
    assert refusal(lambda: check_sizes(chosen, sizes)) == refusal(lambda: select_pools(chosen))
