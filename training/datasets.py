"""Training records in TRL's words, as the trainer takes them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Chat = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class SftRecord:
    """A memory pair: `prompt` and `completion` are lists of messages; `weight` in [0, 1] counts beside its age."""

    id: int
    prompt: Chat
    completion: Chat
    weight: float
    created_at: datetime
    content_hash: str


@dataclass(frozen=True, slots=True)
class PreferenceRecord:
    """A preference pair: `prompt`, `chosen` and `rejected` are lists of messages, `weight` in [0, 1] as above."""

    id: int
    prompt: Chat
    chosen: Chat
    rejected: Chat
    weight: float
    created_at: datetime
    content_hash: str


Record = SftRecord | PreferenceRecord


def is_held_out(key: str, *, share: float) -> bool:
    """Return whether the conversation named by `key` belongs to the `share` (0 to 1) that is never trained.

    It depends on the key alone, so that no conversation moves into training on another night. Raising the share
    only adds conversations.
    """
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
    return position < share
