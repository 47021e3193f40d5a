"""Rows for tests, with the fields that a test does not name filled in."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from memory.models import Conversation, PreferencePair, SftPair


def conversation(name: str, *, participant: str = "Maren") -> Conversation:
    return Conversation.objects.create(source_system="test", external_id=name, participant=participant)


def sft_pairs(count: int, *, age_days: float = 0, **fields: Any) -> list[SftPair]:
    """Store memory pairs, each of its own conversation unless one is given."""
    created_at = timezone.now() - timedelta(days=age_days)
    first = SftPair.objects.count()
    SftPair.objects.insert(
        SftPair(
            **{
                "conversation": fields.get("conversation") or conversation(f"sft-{number}"),
                "instruction": f"question {number}",
                "response": f"answer {number}",
                "created_at": created_at,
                **fields,
            }
        )
        for number in range(first, first + count)
    )
    return list(SftPair.objects.order_by("-id")[:count])[::-1]


def preference_pairs(count: int, **fields: Any) -> list[PreferencePair]:
    """Store preference pairs, each of its own conversation unless one is given."""
    first = PreferencePair.objects.count()
    PreferencePair.objects.insert(
        PreferencePair(
            **{
                "conversation": fields.get("conversation") or conversation(f"preference-{number}"),
                "prompt": [{"role": "user", "content": f"question {number}"}],
                "chosen": f"plain answer {number}",
                "rejected": f"what a wonderful question number {number}",
                "source": "rating",
                "margin": 1.0,
                **fields,
            }
        )
        for number in range(first, first + count)
    )
    return list(PreferencePair.objects.order_by("-id")[:count])[::-1]
