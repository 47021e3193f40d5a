"""What a person says about the two answers of a preference."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from memory import curation
from memory.models import PairEmbedding, PreferencePair
from memory.text import preference_hash
from tests.memory import rows

pytestmark = pytest.mark.django_db
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}


@pytest.fixture
def curator() -> User:
    return User.objects.create(username="curator")


def test_swapped_answers_change_places_with_their_messages(curator: User) -> None:
    talk = rows.conversation()
    better, worse = rows.message(talk, "m1"), rows.message(talk, "m2")
    pair = rows.preference_pair(chosen_message=better, rejected_message=worse, margin=0.5, **USED)
    PairEmbedding.objects.create(preference_pair=pair, embedder="tiny", dimension=2, vector=bytes(4))
    chosen, rejected = pair.chosen, pair.rejected
    curation.swap(pair=pair, user=curator)
    stored = PreferencePair.objects.get()
    for each in (pair, stored):
        assert (each.chosen, each.rejected) == (rejected, chosen)
        assert (each.chosen_message, each.rejected_message) == (worse, better)
        assert (each.margin, each.review_status, each.is_used) == (0.5, "approved", False)
        assert each.content_hash == preference_hash(pair.prompt, rejected, chosen)
    assert not PairEmbedding.objects.exists()
    newest = stored.history.first()
    assert (newest.history_change_reason, newest.history_user) == ("swapped", curator)


def test_what_is_stored_the_other_way_round_is_not_swapped() -> None:
    pair = rows.preference_pair()
    other = rows.preference_pair(chosen=pair.rejected, rejected=pair.chosen)
    with pytest.raises(ValidationError) as refusal:
        curation.swap(pair=pair, user=None)
    assert refusal.value.messages == [
        f"content: got the prompt and answers of preference pair {other.pk}, allowed only new content"
    ]
    stored = PreferencePair.objects.get(pk=pair.pk)
    assert (stored.chosen, pair.chosen) == ("Hello.", "Hello.")


def test_a_tie_is_not_trained_and_says_why(curator: User) -> None:
    pair = rows.preference_pair()
    assert curation.tie(pair=pair, user=curator) == 1
    assert pair.review_status == "rejected"
    assert not PreferencePair.objects.trainable().exists()
    newest = pair.history.first()
    assert (newest.history_change_reason, newest.history_user) == ("tie: neither answer is better", curator)
    assert curation.tie(pair=pair, user=curator) == 0
    assert pair.history.count() == 2


def test_a_rejected_pair_is_a_tie_when_somebody_says_so(curator: User) -> None:
    pair = rows.preference_pair(review_status="rejected")
    assert curation.tie(pair=pair, user=curator) == 1
    assert pair.history.first().history_change_reason == "tie: neither answer is better"
    assert curation.undo(pair=pair, user=curator).columns == ()
    assert PreferencePair.objects.get().review_status == "rejected"
    assert curation.tie(pair=pair, user=curator) == 1
