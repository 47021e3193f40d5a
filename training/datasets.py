"""Training records in TRL's words, as the trainer takes them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

PreferenceGroup = Literal["curated", "drafts", "replay"]
Chat = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the records of both channels share.

    `id` is the pair's key, None where it came from a file; `conversation` names the conversation in every database
    it is imported into, or is None; `reward` in [0, 1] is what the dry run shows; `weight` in [0, 1] is its share of
    the sampling weight beside its age.
    """

    id: int | None
    prompt: Chat
    weight: float
    reward: float
    source: str
    conversation: str | None
    created_at: datetime
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRecord(Record):
    """A memory pair: `prompt` and `completion` are lists of messages."""

    completion: Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceRecord(Record):
    """A preference pair: `prompt`, `chosen` and `rejected` are lists of messages; `group` says where it is from."""

    chosen: Chat
    rejected: Chat
    group: PreferenceGroup


_Record = TypeVar("_Record", bound=Record)


def is_held_out(key: str, *, share: float) -> bool:
    """Return whether the conversation named by `key` belongs to the `share` (0 to 1) that is never trained.

    It depends on the key alone, so that no conversation moves into training on another night. Raising the share
    only adds conversations.
    """
    return _position(key) < share


def measured(held_out: Sequence[_Record], *, most: int) -> tuple[_Record, ...]:
    """Return those of the held-out records that are measured, `most` at most, in their order.

    They are the ones that come first by the hashes of their conversations: of those that are there already none is
    taken up because others come in.
    """
    by_hash = sorted(held_out, key=lambda record: (_position(held_out_key(record)), record.content_hash))
    chosen = {id(record) for record in by_hash[:most]}
    return tuple(record for record in held_out if id(record) in chosen)


def held_out_key(record: Record) -> str:
    """Return what decides whether a record is held out: its conversation; one that came without is its own."""
    return record.conversation or record.content_hash


def _position(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
