"""The job of extraction: pairs out of stored conversations."""

from __future__ import annotations

from datetime import datetime

from dualchannel_site.desk.jobs.outcome import Outcome
from dualchannel_site.desk.jobs.reporting import Report
from dualchannel_site.desk.models import Job
from memory.extraction.pipeline import extract
from memory.extraction.request import Selection


def extract_pairs(job: Job, report: Report) -> Outcome:
    """Extract what is new, as `manage.py extract_sft_pairs` does; `since` in the options leaves out what is older."""
    since = job.options.get("since")
    selection = Selection(since=None if since is None else datetime.fromisoformat(since))
    total, done = selection.count(), 0
    report.progress(f"0 of {total:,} conversations", 0.0)

    def advance(conversations: int) -> None:
        nonlocal done
        done += conversations
        report.progress(f"{done:,} of {total:,} conversations", done / max(total, 1))

    return Outcome(extract(selection, on_batch=advance).as_dict())
