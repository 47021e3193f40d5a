"""Messages for tests: each valid as it is, with what a test is about given by name."""

from datetime import UTC, datetime, timedelta
from typing import Any

from memory.extraction.turns import TurnMessage

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def message(key: int, role: str = "assistant", parent: int | None = None, **fields: Any) -> TurnMessage:
    values = {
        "kind": "dialogue",
        "internal_generated": False,
        "content": f"{role} says {key}",
        "original_content": "",
        "created_at": BEGIN + timedelta(minutes=key),
        "reward_intensity": 0.5,
        "reward_observed": False,
        "rating": None,
        "loss": None,
        "is_active_branch": True,
        "branch_position": 0,
        **fields,
    }
    return TurnMessage(id=key, parent_id=parent, role=role, **values)


def rated(key: int, reward: float, parent: int | None = 1, **fields: Any) -> TurnMessage:
    return message(key, parent=parent, reward_intensity=reward, reward_observed=True, **fields)


def thought(key: int, parent: int | None = None, **fields: Any) -> TurnMessage:
    return message(key, parent=parent, **{"kind": "introspection", "internal_generated": True, **fields})
