"""The pairs that their last run used without effect."""

from __future__ import annotations

from django.db.models import Max

from memory.bulk import key_list
from training.models import PairUse, TrainingRun
from training.sampling.plan import Channel


def unlearned_pairs(channel: Channel, *, using: str) -> set[int]:
    """Return the keys of the pairs that did not stick in the last successful run that used them.

    Each run says so of its pairs (`training.evaluation.sticking`), in its evaluation; one of an older version that does
    not is passed over.
    """
    runs = TrainingRun.objects.using(using).successful().order_by("pk")
    unlearned: dict[int, int] = {}
    for run, pairs in runs.values_list("pk", f"evaluation__did_not_stick__{channel}").iterator(chunk_size=100):
        unlearned |= dict.fromkeys(pairs or (), run)
    link = f"{channel}_pair"
    uses = PairUse.objects.using(using).filter(
        run__in=runs.order_by(), **{f"{link}__in": key_list(list(unlearned), using=using)}
    )
    last = uses.order_by().values_list(link).annotate(Max("run"))
    return {pair for pair, run in last if unlearned[pair] == run}
