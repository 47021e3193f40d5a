"""A longer or changed export of stored conversations: what is new in it, and what it changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from memory import rules
from memory.bulk import key_list
from memory.importers.records import ParsedConversation, ParsedMessage
from memory.importing.rows import Addition, Rows, span
from memory.models import Conversation, Message

STORED_COLUMNS = (
    "pk",
    "parent_id",
    "branch_position",
    "is_active_branch",
    "rating",
    "reward_intensity",
    "reward_observed",
)


@dataclass(slots=True)
class StoredMessage:
    """What an export may change in a stored message, or needs to know of it: the `STORED_COLUMNS` of its row."""

    pk: int
    parent_id: int | None
    branch_position: int
    is_active_branch: bool
    rating: int | None
    reward_intensity: float
    reward_observed: bool

    def renewed_reward(self, *, rating: int | None, logged: float | None) -> tuple[int | None, float, bool] | None:
        """Return rating, reward and whether it was observed after a new `rating` or `logged` reward, or None if same.

        What the source no longer says is kept: a rating may have come apart from its message.
        """
        if rating is None and logged is None:
            return None
        rating = self.rating if rating is None else rating
        reward = rules.reward_of(logged=self._logged() if logged is None else logged, rating=rating)
        renewed = (rating, reward, True)
        return None if renewed == (self.rating, self.reward_intensity, self.reward_observed) else renewed

    def _logged(self) -> float | None:
        """Return the stored reward if it was logged: one that the rating alone would not have given."""
        if not self.reward_observed:
            return None
        follows_rating = self.rating is not None and self.reward_intensity == rules.REWARD_OF_RATING[self.rating]
        return None if follows_rating else self.reward_intensity


def merge(known: Sequence[tuple[Conversation, ParsedConversation]], rows: Rows, *, using: str) -> int:
    """Add to `rows` what exports of stored conversations bring; return how many of them bring nothing.

    An export that is older than what is stored adds what is missing, away from the active branch, and changes
    nothing. Consent can only be withdrawn here: granting it again is a person's decision.
    """
    if not known:
        return 0
    messages = _stored_messages([stored.pk for stored, _ in known], using)
    edited = [stored.pk for stored, parsed in known if _age(parsed, stored) > 0]
    texts = _stored_texts(edited, using)
    changed = [stored.pk for stored, parsed in known if _merge_one(stored, parsed, messages[stored.pk], texts, rows)]
    rows.changed += changed
    return len(known) - len(changed)


def _merge_one(
    stored: Conversation,
    parsed: ParsedConversation,
    messages: Mapping[str, StoredMessage],
    texts: Mapping[int, tuple[str, str]],
    rows: Rows,
) -> bool:
    """Return whether the export brought anything."""
    age = _age(parsed, stored)
    new = [message for message in parsed.messages if message.external_id not in messages]
    if new:
        key_of = {external_id: message.pk for external_id, message in messages.items()}
        rows.additions.append(Addition(stored.pk, parsed, _placed(new, messages, is_older=age < 0), key_of))
    if age < 0:
        return bool(new)
    branches = _branches(parsed, new, messages)
    rewards = _rewards(parsed, messages)
    edits = _edits(parsed, messages, texts)
    consents = [(stored.pk, False)] if stored.training_allowed and not parsed.training_allowed else []
    rows.branches += branches
    rows.rewards += rewards
    rows.texts += edits
    rows.consents += consents
    _renew_heading(stored, parsed, rows)
    return bool(new or branches or rewards or edits or consents)


def _age(parsed: ParsedConversation, stored: Conversation) -> int:
    """Return 1 if the export is newer than what is stored, -1 if older, 0 if equally old or of unknown age."""
    updated_at = span(parsed)[1]
    if updated_at is None or stored.updated_at is None:
        return 0
    return (updated_at > stored.updated_at) - (updated_at < stored.updated_at)


def _placed(
    new: Sequence[ParsedMessage], messages: Mapping[str, StoredMessage], *, is_older: bool
) -> list[ParsedMessage]:
    """Return new messages at free places beside the stored ones; those of an older export are not active."""
    external_id_of = {stored.pk: external_id for external_id, stored in messages.items()}
    taken: defaultdict[str | None, set[int]] = defaultdict(set)
    for stored in messages.values():
        parent = None if stored.parent_id is None else external_id_of[stored.parent_id]
        taken[parent].add(stored.branch_position)
    # An answer and the reasoning cut out of it share a place, and move together.
    places: dict[tuple[str | None, int], int] = {}
    placed = []
    for message in new:
        beside = taken[message.parent_id]
        wanted = (message.parent_id, message.branch_position)
        if wanted not in places:
            is_free = message.branch_position not in beside
            places[wanted] = message.branch_position if is_free else max(beside) + 1
            beside.add(places[wanted])
        is_active = message.is_active_branch and not is_older
        placed.append(replace(message, branch_position=places[wanted], is_active_branch=is_active))
    return placed


def _branches(
    parsed: ParsedConversation, new: Sequence[ParsedMessage], messages: Mapping[str, StoredMessage]
) -> list[tuple[int, bool]]:
    """Return the stored messages that come to lie on the active branch, or leave it.

    An export that does not name its branch says something of it only by going on from somewhere. What is missing
    from an export that goes on was left behind.
    """
    goes_on = any(message.is_active_branch for message in new)
    if not goes_on and not parsed.names_active_branch:
        return []
    said = {message.external_id: message.is_active_branch for message in parsed.messages}
    return [
        (message.pk, is_active)
        for external_id, message in messages.items()
        if (is_active := said.get(external_id, message.is_active_branch and not goes_on)) != message.is_active_branch
    ]


def _rewards(
    parsed: ParsedConversation, messages: Mapping[str, StoredMessage]
) -> list[tuple[int, int | None, float, bool]]:
    found = []
    for message in parsed.messages:
        stored = messages.get(message.external_id)
        if stored is not None:
            renewed = stored.renewed_reward(rating=message.rating, logged=message.reward_intensity)
            if renewed is not None:
                found.append((stored.pk, *renewed))
    return found


def _edits(
    parsed: ParsedConversation, messages: Mapping[str, StoredMessage], texts: Mapping[int, tuple[str, str]]
) -> list[tuple[int, str, str]]:
    """Return new contents of messages that were edited in place, each with the text before the first edit."""
    found = []
    for message in parsed.messages:
        stored = messages.get(message.external_id)
        if stored is not None and stored.pk in texts:
            content, original = texts[stored.pk]
            if message.content != content:
                found.append((stored.pk, message.content, original or message.original_content or content))
    return found


def _renew_heading(stored: Conversation, parsed: ParsedConversation, rows: Rows) -> None:
    started_at, updated_at = span(parsed)
    heading = (parsed.title or stored.title, stored.started_at or started_at, updated_at or stored.updated_at)
    if heading != (stored.title, stored.started_at, stored.updated_at):
        rows.headings.append((stored.pk, *heading))


def _stored_messages(conversation_ids: Sequence[int], using: str) -> Mapping[int, dict[str, StoredMessage]]:
    found: defaultdict[int, dict[str, StoredMessage]] = defaultdict(dict)
    messages = Message.objects.using(using).filter(conversation_id__in=key_list(conversation_ids, using=using))
    for row in messages.order_by().values_list("conversation_id", "external_id", *STORED_COLUMNS):
        conversation_id, external_id, *_ = row
        found[conversation_id][external_id] = StoredMessage(*row[2:])
    return found


def _stored_texts(conversation_ids: Sequence[int], using: str) -> dict[int, tuple[str, str]]:
    """Return content and original content by message; only conversations that may hold edits are worth the reading."""
    if not conversation_ids:
        return {}
    return {
        pk: (content, original)
        for pk, content, original in Message.objects.using(using)
        .filter(conversation_id__in=key_list(conversation_ids, using=using))
        .order_by()
        .values_list("pk", "content", "original_content")
    }
