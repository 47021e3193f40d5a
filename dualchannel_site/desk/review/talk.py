"""The conversation around a pair, as it is read: what was said before, the turn that is trained, what came next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from memory.models import Message, PreferencePair, SftPair

# Messages before the turn that a page shows; the conversation's own page has all of them.
SHOWN_BEFORE = 20
# Ancestors that are looked for among this many messages before the turn, which a thread of drafts may push apart.
SEARCHED_BEFORE = 2000
# Drafts, and messages after the turn, that are read.
SHOWN_BESIDE = 20


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message of a conversation: who said what."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Talk:
    """What is shown of a conversation around a pair.

    `before` lies before the instruction; `is_trained` tells whether training sees it, too. `has_more` means that there
    is more before it. `drafts` are the other answers to the instruction, `after` what the person said to the answer.
    """

    before: Sequence[Bubble]
    is_trained: bool
    has_more: bool
    after: Bubble | None
    drafts: Sequence[Message]


def talk_of(pair: SftPair | PreferencePair) -> Talk:
    """Return the conversation around a pair; at most three queries, whatever its length."""
    if isinstance(pair, PreferencePair):
        return _stored(pair.prompt[:-1], after=None, drafts=())
    beside = _beside(pair)
    answered = [each for each in beside if each.parent_id == pair.assistant_message_id]
    drafts = [each for each in beside if each.parent_id != pair.assistant_message_id]
    after = next((Bubble(each.role, each.content) for each in answered if each.role == Message.Role.USER), None)
    if pair.context or pair.user_message_id is None:
        return _stored(pair.context, after=after, drafts=drafts)
    before, has_more = _before(pair.user_message_id, conversation=pair.conversation_id)
    return Talk(before=before, is_trained=False, has_more=has_more, after=after, drafts=drafts)


def _stored(context: Sequence[dict[str, Any]], *, after: Bubble | None, drafts: Sequence[Message]) -> Talk:
    before = [Bubble(str(each["role"]), str(each["content"])) for each in context[-SHOWN_BEFORE:]]
    return Talk(before=before, is_trained=True, has_more=len(context) > SHOWN_BEFORE, after=after, drafts=drafts)


def _beside(pair: SftPair) -> list[Message]:
    """Return the other answers of the pair's kind to its instruction, and what was said to its own answer."""
    if pair.assistant_message_id is None:
        return []
    answer = Q(parent_id=pair.assistant_message_id)
    if pair.user_message_id is not None:
        kind = Message.Kind.INTROSPECTION if pair.source == SftPair.Source.INTROSPECTION else Message.Kind.DIALOGUE
        siblings = Q(parent_id=pair.user_message_id, role=Message.Role.ASSISTANT, kind=kind)
        answer |= siblings & ~Q(pk=pair.assistant_message_id)
    found = Message.objects.filter(answer).defer("original_content")
    return list(found.order_by("-is_active_branch", "branch_position", "pk")[:SHOWN_BESIDE])


def _before(user_message: int, *, conversation: int | None) -> tuple[list[Bubble], bool]:
    """Return the last `SHOWN_BEFORE` messages that lead to a user message, and whether there are more."""
    # Parents were stored before their children: the ancestors are among the keys below.
    links = Message.objects.filter(conversation=conversation, pk__lte=user_message).order_by("-pk")
    parents = dict(links.values_list("pk", "parent_id")[:SEARCHED_BEFORE])
    path: list[int] = []
    above = parents.get(user_message)
    while above is not None and len(path) < SHOWN_BEFORE:
        path.append(above)
        above = parents.get(above)
    texts = Message.objects.in_bulk(path) if path else {}
    said = [Bubble(texts[pk].role, texts[pk].content) for pk in reversed(path) if pk in texts]
    return said, above is not None
