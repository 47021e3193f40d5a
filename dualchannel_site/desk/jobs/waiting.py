"""What waits for an extraction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from dualchannel_site.desk.counting import count_up_to
from dualchannel_site.desk.models import Job
from maintenance.models import MaintenanceStep
from memory.models import Conversation, ImportBatch

# Conversations are counted no further than this.
COUNTED_CONVERSATIONS = 10_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """What came in since the last extraction that a job or a night did, and how much there is in all.

    `since` is None where there was no extraction yet; `has_more` says that there are more conversations than counted.
    """

    since: datetime | None
    imports: int
    conversations: int
    messages: int
    stored: int
    has_more: bool


def waiting() -> Waiting:
    """Return what waits; an extraction by the command alone leaves no record, and is not seen."""
    since = _last_extraction()
    batches = ImportBatch.objects.all() if since is None else ImportBatch.objects.filter(imported_at__gt=since)
    found = batches.aggregate(conversations=Sum("conversations", default=0), messages=Sum("messages", default=0))
    stored, has_more = count_up_to(Conversation.objects.all(), COUNTED_CONVERSATIONS)
    return Waiting(
        since=since,
        imports=batches.count(),
        stored=stored,
        has_more=has_more,
        **found,
    )


def _last_extraction() -> datetime | None:
    jobs = Job.objects.full_extractions()
    steps = MaintenanceStep.objects.filter(name="extract", status=MaintenanceStep.Status.SUCCEEDED)
    starts = [
        jobs.order_by("-pk").values_list("started_at", flat=True).first(),
        steps.order_by("-pk").values_list("started_at", flat=True).first(),
    ]
    return max((start for start in starts if start is not None), default=None)
