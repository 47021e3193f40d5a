"""What an importer yields: conversations, preference pairs, ratings, and what it had to leave out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["dialogue", "introspection"]


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """One message of a tree; `parent_id` names another message of the same conversation, or None for a root.

    Siblings (same `parent_id`) are drafts, in the order of `branch_position`. `rating` is 1, -1 or None;
    `reward_intensity` in [0, 1] is a logged value, None where nothing was logged; `loss` is in nats per token.
    `original_content` is the text before a person edited the message, empty where it was not edited.
    """

    external_id: str
    parent_id: str | None
    role: Role
    content: str
    created_at: datetime | None = None
    kind: Kind = "dialogue"
    internal_generated: bool = False
    is_active_branch: bool = True
    branch_position: int = 0
    rating: int | None = None
    reward_intensity: float | None = None
    loss: float | None = None
    model_name: str = ""
    original_content: str = ""


@dataclass(frozen=True, slots=True)
class ParsedConversation:
    """One conversation. Parents come before their children in `messages`; external ids are unique within it.

    `(source_system, external_id)` names the conversation across imports. `where` tells its place in the file.
    `names_active_branch` is whether the export itself says which branch is the active one; a plain list does not.
    """

    source_system: str
    external_id: str
    messages: tuple[ParsedMessage, ...]
    title: str = ""
    participant: str = ""
    training_allowed: bool = True
    started_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    names_active_branch: bool = False


@dataclass(frozen=True, slots=True)
class ParsedPreference:
    """A ready-made preference pair; `prompt` is a tuple of `{"role": …, "content": …}`."""

    prompt: tuple[Mapping[str, str], ...]
    chosen: str
    rejected: str
    created_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True, slots=True)
class ParsedSftPair:
    """A row of the plan's own `sft_pairs` table, with its usage."""

    instruction: str
    response: str
    context: tuple[Mapping[str, str], ...]
    category: str
    confidence: float
    reward_intensity: float
    loss: float | None
    created_at: datetime | None
    is_used: bool
    used_timestamp: datetime | None
    training_epoch: int | None
    metadata: Mapping[str, Any]
    where: str = ""


@dataclass(frozen=True, slots=True)
class ParsedFeedback:
    """A rating (1 or -1) that came apart from its message; joined after the conversations are stored."""

    source_system: str
    conversation_id: str
    message_id: str
    rating: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that could not be read: where it stands, why it was left out."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """The file ends, or stops being readable, at this byte; everything before it was yielded.

    `byte_offset` counts from 0; in an archive it counts within the unpacked member that `where` names.
    """

    byte_offset: int
    reason: str
    where: str = ""


class BadRecordError(ValueError):
    """A record that a format cannot read; says which field, what it holds and what is allowed."""


class UnreadableFileError(Exception):
    """A file that is no export at all: missing, unreadable, or of a shape that no format has."""


Parsed = ParsedConversation | ParsedPreference | ParsedSftPair | ParsedFeedback | Skipped | CutOff
