"""The pages of the review: one pair with all around it, decided by one request that answers with the next one.

With htmx the answer is the next card; without it, a redirect to its page.
"""

from __future__ import annotations

from dataclasses import fields
from http import HTTPStatus
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from dualchannel_site.desk.review import remembered
from dualchannel_site.desk.review.card import Card, find_pair, load_card
from dualchannel_site.desk.review.channels import ReviewChannel, channel_of
from dualchannel_site.desk.review.decisions import Asked, ChangedMeanwhileError, decide, take_back
from dualchannel_site.desk.review.queue import Queue, load_queue
from memory import curation


@require_safe
def review(request: HttpRequest, channel: str, pk: int | None = None) -> HttpResponse:
    """Show the pair that waits first, or the pair `pk`, decided or not."""
    return _page(request, _seen_by(request, channel), pk)


@require_POST
def decide_pair(request: HttpRequest, channel: str, pk: int) -> HttpResponse:
    """Make the decision that the form names; answer with the next pair, or with the same one and why not."""
    found = _decided_by(request, channel)
    asked = Asked(**{field.name: request.POST.get(field.name, "") for field in fields(Asked)})
    if asked.decision == "skip":
        return _skip(request, found, pk)
    try:
        outcome = decide(channel=found, pk=pk, asked=asked, user=cast(User, request.user))
    except ObjectDoesNotExist:
        raise Http404(f"pair: got {pk}, allowed the number of a pair of this channel") from None
    except (ChangedMeanwhileError, curation.UndoRefusedError) as error:
        return _refused(request, found, pk, str(error), status=HTTPStatus.CONFLICT, asked=asked)
    except (ValueError, ValidationError) as error:
        return _refused(request, found, pk, _line(error), status=HTTPStatus.BAD_REQUEST, asked=asked)
    if outcome.puts_off:
        remembered.skip(request.session, found, pk)
    if outcome.changed is not None or outcome.proposal is not None:
        decided = remembered.Decided(pk, outcome.changed, outcome.proposal, outcome.text, outcome.record)
        remembered.remember(request.session, found, decided)
    if outcome.undone is not None:
        remembered.forget(request.session, found, outcome.undone)
    return _answer(request, found, None if outcome.moves_on else pk, outcome.text)


@require_POST
def undo(request: HttpRequest, channel: str) -> HttpResponse:
    """Take back what this session decided last; answer with the pair that it was decided on."""
    found = _decided_by(request, channel)
    decided = remembered.last(request.session, found)
    if decided is None:
        return _refused(request, found, None, "There is no decision to undo.", status=HTTPStatus.CONFLICT)
    remembered.forget_last(request.session, found)
    remembered.unskip(request.session, found, decided.shown)
    # A pair that is gone is not shown again: the next one is.
    shown = decided.shown if found.model._default_manager.filter(pk=decided.shown).exists() else None
    try:
        take_back(channel=found, decided=decided, user=cast(User, request.user))
    except ObjectDoesNotExist:
        return _refused(request, found, None, "The pair is no longer stored.", status=HTTPStatus.CONFLICT)
    except (ValueError, ValidationError) as error:
        return _refused(request, found, shown, _line(error), status=HTTPStatus.CONFLICT)
    return _answer(request, found, shown, f"Undone: {decided.text}")


@require_POST
def unskip(request: HttpRequest, channel: str) -> HttpResponse:
    """Let all skipped pairs wait at their places again."""
    found = _decided_by(request, channel)
    remembered.unskip(request.session, found)
    return _answer(request, found, None, "Skipped pairs wait again.")


def _skip(request: HttpRequest, channel: ReviewChannel, pk: int) -> HttpResponse:
    if find_pair(channel, pk) is None:
        raise Http404(f"pair: got {pk}, allowed the number of a pair of this channel")
    remembered.skip(request.session, channel, pk)
    text = f"Pair {pk} skipped."
    remembered.remember(request.session, channel, remembered.Decided(pk, None, None, text))
    return _answer(request, channel, None, text)


def _seen_by(request: HttpRequest, name: str) -> ReviewChannel:
    channel = channel_of(name)
    if not channel.may_see(request.user):
        raise PermissionDenied
    return channel


def _decided_by(request: HttpRequest, name: str) -> ReviewChannel:
    channel = channel_of(name)
    if not channel.may_decide(request.user):
        raise PermissionDenied
    return channel


def _answer(request: HttpRequest, channel: ReviewChannel, pk: int | None, text: str) -> HttpResponse:
    """Answer a request that did what was asked: with the card of `pk`, or of the pair that waits first."""
    if not _is_htmx(request):
        messages.success(request, text)
        return HttpResponseRedirect(_address(channel, pk))
    queue, card = _load(request, channel, pk)
    response = render(request, "desk/review/answer.html", {**_shown(request, channel, queue, card), "text": text})
    response["HX-Push-Url"] = _address(channel, card.pair.pk if card else None)
    return response


def _refused(
    request: HttpRequest,
    channel: ReviewChannel,
    pk: int | None,
    text: str,
    *,
    status: HTTPStatus,
    asked: Asked | None = None,
) -> HttpResponse:
    """Answer a request that changed nothing, with the pair as it is now and the words that were typed."""
    if not _is_htmx(request):
        messages.error(request, text)
        return _page(request, channel, pk, status=status, asked=asked)
    queue, card = _load(request, channel, pk)
    context = {**_shown(request, channel, queue, card), "text": text, "is_error": True, "asked": asked}
    return render(request, "desk/review/answer.html", context, status=status)


def _page(
    request: HttpRequest,
    channel: ReviewChannel,
    pk: int | None,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    asked: Asked | None = None,
) -> HttpResponse:
    queue, card = _load(request, channel, pk)
    context = {
        **admin.site.each_context(request),
        **_shown(request, channel, queue, card),
        "title": channel.title,
        "asked": asked,
        "is_fullwidth": "1",
    }
    return render(request, "desk/review/page.html", context, status=status)


def _load(request: HttpRequest, channel: ReviewChannel, pk: int | None) -> tuple[Queue, Card | None]:
    queue = load_queue(channel, skipped=remembered.skipped(request.session, channel))
    shown = queue.next_pk if pk is None else pk
    if shown is None:
        return queue, None
    pair = find_pair(channel, shown)
    if pair is None:
        raise Http404(f"pair: got {shown}, allowed the number of a pair of this channel")
    return queue, load_card(channel, pair, group=queue.groups.get(shown), user=request.user)


def _shown(request: HttpRequest, channel: ReviewChannel, queue: Queue, card: Card | None) -> dict[str, Any]:
    return {
        "channel": channel,
        "queue": queue,
        "card": card,
        "may_decide": channel.may_decide(request.user),
        "may_decide_proposals": request.user.has_perm("maintenance.change_proposal"),
        "last": remembered.last(request.session, channel),
    }


def _address(channel: ReviewChannel, pk: int | None) -> str:
    if pk is None:
        return reverse("desk:review", args=[channel.name])
    return reverse("desk:review_pair", args=[channel.name, pk])


def _is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _line(error: ValueError | ValidationError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
