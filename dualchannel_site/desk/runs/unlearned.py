"""The pairs that a run used without effect, as its page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.db.models.functions import Substr

from dualchannel_site.desk.dashboard.links import may_see, page_of
from dualchannel_site.desk.dashboard.pool_charts import CHANNELS
from memory.admin.base import one_line
from memory.admin.lists import LIST_TEXT_LENGTH
from memory.models import SftPair
from training.models import TrainingRun
from training.sampling.schedule import Channel

# Pairs of a channel that are shown; the row has the numbers of all.
SHOWN_PAIRS = 20


@dataclass(frozen=True, slots=True)
class UnlearnedPair:
    """One pair: its number, its page and the beginning of its text, both empty where it is gone or not to be seen."""

    key: int
    link: str
    text: str


@dataclass(frozen=True, slots=True)
class Unlearned:
    """The pairs of one channel that did not stick: the first of them, and how many there are."""

    name: str
    pairs: tuple[UnlearnedPair, ...]
    total: int


def unlearned(run: TrainingRun, user: User | AnonymousUser) -> list[Unlearned]:
    """Return the pairs of each channel that did not stick, the least moved first; a query a channel."""
    left = run.evaluation.get("did_not_stick") if isinstance(run.evaluation, dict) else None
    return list(_channels(left, user)) if isinstance(left, dict) else []


def _channels(left: dict[str, Any], user: User | AnonymousUser) -> Iterator[Unlearned]:
    for channel, view in CHANNELS.items():
        listed = left.get(channel)
        keys = [key for key in listed if isinstance(key, int)] if isinstance(listed, list) else []
        if not keys:
            continue
        shown = keys[:SHOWN_PAIRS]
        texts = _texts(channel, shown) if may_see(user, view.model._meta.label_lower) else {}
        pairs = [
            UnlearnedPair(key, page_of(view.model, key) if key in texts else "", texts.get(key, "")) for key in shown
        ]
        yield Unlearned(view.name, tuple(pairs), len(keys))


def _texts(channel: Channel, keys: list[int]) -> dict[int, str]:
    """Return the beginnings of the texts of those pairs that are there still."""
    model = CHANNELS[channel].model
    column = "instruction" if model is SftPair else "chosen"
    rows: QuerySet[SftPair] = model._default_manager.filter(pk__in=keys).order_by()  # type: ignore[assignment]
    beginnings = rows.annotate(text=Substr(column, 1, LIST_TEXT_LENGTH + 1)).values_list("pk", "text")
    return {key: one_line(text) for key, text in beginnings}
