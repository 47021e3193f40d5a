"""The pairs that are most like one pair, to be merged from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Substr
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dualchannel_site.desk.review.channels import ReviewChannel, channel_of
from memory import curation
from memory.curation.merging import why_unfit
from memory.curation.writing import TEXTS
from memory.models import PreferencePair, SftPair, TrainingPair
from memory.nearest import Nearest, Neighbour, nearest

# Pairs that are shown, and those that are looked through for them: a pair that another one stands for is left out.
SHOWN = 10
LOOKED_THROUGH = 100
# Characters of a text.
SHOWN_CHARACTERS = 600

_TEXTS: Mapping[type[SftPair] | type[PreferencePair], Mapping[str, str]] = {
    SftPair: {"instruction": "Instruction", "response": "Response"},
    PreferencePair: {"chosen": "Chosen", "rejected": "Rejected"},
}


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """A pair that is like the one under review: its cosine, the beginnings of its texts by title, what it is."""

    pk: int
    similarity: float
    texts: Mapping[str, str]
    status: Sequence[str]
    can_stand: bool
    state: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The pair under review as the forms of a decision name it; `can_stand` says whether it may stand for others."""

    pair: TrainingPair
    state: str
    can_stand: bool


@require_safe
def similar(request: HttpRequest, channel: str, pk: int) -> HttpResponse:
    """Show the pairs that are most like the pair `pk`: with htmx a part of its page, else a page of their own."""
    found = channel_of(channel)
    if not found.may_see(request.user):
        raise PermissionDenied
    pair = found.model._default_manager.filter(pk=pk).first()
    if pair is None:
        raise Http404(f"pair: got {pk}, allowed the number of a pair of this channel")
    near = nearest(pair, limit=LOOKED_THROUGH)
    context = {
        "channel": found,
        "card": Subject(pair, curation.state_of(pair), not why_unfit(pair)),
        "near": near,
        "pairs": similar_pairs(found, near),
        "may_decide": found.may_decide(request.user),
    }
    if request.headers.get("HX-Request") == "true":
        return render(request, "desk/review/similar.html", context)
    page = {**admin.site.each_context(request), **context, "title": f"Pairs like pair {pk}", "is_fullwidth": "1"}
    return render(request, "desk/review/similar_page.html", page)


def similar_pairs(channel: ReviewChannel, near: Nearest) -> list[SimilarPair]:
    """Return the first `SHOWN` of those found that no other pair stands for; two queries."""
    titles = _TEXTS[channel.model]
    beginnings = {f"{name}_shown": Substr(name, 1, SHOWN_CHARACTERS + 1) for name in titles}
    among = channel.model._default_manager.filter(pk__in=[each.pair_id for each in near.neighbours])
    standing = among.filter(merged_into=None).order_by().defer(*TEXTS[channel.model], "metadata")
    rows = {row.pk: row for row in standing.annotate(**beginnings)}
    found = [(each, rows[each.pair_id]) for each in near.neighbours if each.pair_id in rows][:SHOWN]
    states = curation.states_of([row for _, row in found])
    return [_similar_pair(neighbour, row, titles, states[row.pk]) for neighbour, row in found]


def _similar_pair(neighbour: Neighbour, row: TrainingPair, titles: Mapping[str, str], state: str) -> SimilarPair:
    status = [row.review_status, *(["archived"] if row.archived_at else []), *(["used"] if row.is_used else [])]
    texts = {title: _clipped(getattr(row, f"{name}_shown")) for name, title in titles.items()}
    return SimilarPair(row.pk, neighbour.similarity, texts, status, not why_unfit(row), state)


def _clipped(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
