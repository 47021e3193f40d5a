"""The figures of a morning: the night's steps, the pools as they are now, what waits for a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.db.models import Count, Model, Q

from maintenance.models import Clustering, MaintenanceRun, MaintenanceStep, Proposal
from memory.models import PreferencePair, ReplayEntry, ReviewStatus, SftPair
from training.models import TrainingRun

# The file of the figures in a report's folder.
FIGURES = "report.json"


def morning_figures(run: MaintenanceRun, *, using: str) -> dict[str, Any]:
    """Return the figures of a night as plain JSON; a dozen queries, whatever the number of pairs.

    `before` has the pools as the report before this one had them, None without one.
    """
    steps = list(MaintenanceStep.objects.using(using).filter(run=run))
    return {
        "run": run.pk,
        "started_at": run.started_at.isoformat(),
        "config": run.config_path,
        "steps": {step.name: _step(step) for step in steps},
        "pools": {"sft": _pool(SftPair, using=using), "preference": _pool(PreferencePair, using=using)},
        "replay_entries": ReplayEntry.objects.using(using).count(),
        "before": _before(run, using=using),
        "waiting": {
            "proposals": Proposal.objects.using(using).open().count(),
            "pending_sft": _pending(SftPair, using=using),
            "pending_preference": _pending(PreferencePair, using=using),
        },
        "clustering": _clustering(using=using),
        "training": _training(steps, using=using),
    }


def _step(step: MaintenanceStep) -> dict[str, Any]:
    names = ("status", "seconds", "peak_rss_mb", "counts", "details", "error")
    return {name: getattr(step, name) for name in names}


def _pool(model: type[Model], *, using: str) -> dict[str, int]:
    """Return how many pairs of a channel are unused and used, archived, merged away and rejected."""
    pairs = model._default_manager.using(using)
    active = Q(merged_into__isnull=True, archived_at__isnull=True) & ~Q(review_status=ReviewStatus.REJECTED)
    return pairs.aggregate(
        unused=Count("pk", filter=active & Q(is_used=False)),
        used=Count("pk", filter=active & Q(is_used=True)),
        merged=Count("pk", filter=Q(merged_into__isnull=False)),
        archived=Count("pk", filter=Q(archived_at__isnull=False)),
        rejected=Count("pk", filter=Q(review_status=ReviewStatus.REJECTED)),
    )


def _pending(model: type[Model], *, using: str) -> int:
    pending = model._default_manager.using(using).filter(review_status=ReviewStatus.PENDING)
    return pending.filter(merged_into__isnull=True, archived_at__isnull=True).count()


def _before(run: MaintenanceRun, *, using: str) -> dict[str, Any] | None:
    """Return the pools of the newest earlier report that can still be read."""
    earlier = MaintenanceRun.objects.using(using).filter(pk__lt=run.pk).exclude(report="").order_by("-pk").first()
    if earlier is None:
        return None
    try:
        content = json.loads((Path(earlier.report) / FIGURES).read_text(encoding="utf-8"))
        return {"run": earlier.pk, "pools": content["pools"]}
    except (OSError, ValueError, KeyError):
        # A report that was deleted or changed by hand leaves nothing to compare with.
        return None


def _clustering(*, using: str) -> dict[str, Any] | None:
    """Return the present clustering with the one before it."""
    present = list(Clustering.objects.using(using).filter(undone_at=None).defer("labels", "centroids")[:2])
    if not present:
        return None
    last = present[0]
    return {
        "clusters": last.k,
        "coverage": last.coverage,
        "coverage_before": present[1].coverage if len(present) > 1 else None,
        "drift": last.drift,
    }


def _training(steps: list[MaintenanceStep], *, using: str) -> dict[str, Any] | None:
    """Return the evaluation of the run that this night trained."""
    number = next((step.details.get("run") for step in steps if step.name == "train"), None)
    run = TrainingRun.objects.using(using).filter(pk=number).first() if number else None
    return None if run is None else {"run": run.pk, "steps": run.steps, **run.evaluation}
