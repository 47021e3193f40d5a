"""Duplicates across all pairs are merged; what is alike but differs in a fact is put before a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maintenance.merging.candidates import read_texts
from maintenance.merging.channel_merge import ChannelOutcome, merge_channel
from maintenance.merging.channels import PREFERENCE, SFT, Channel, PairTexts
from maintenance.merging.marks import Marks, last_marks
from maintenance.merging.writing import Merge
from maintenance.night import Night, StepOutcome
from maintenance.releasing import release_pairs

_LONGEST_EXAMPLE = 120


def merge(night: Night) -> StepOutcome:
    """Merge what is the same, in both channels: the same content, or vectors with a cosine above the threshold.

    Of each group the best pair stays (approved, then reward, then loss, then newest); the others point at it and leave
    the pools, and it takes their best scores and says where they came from. Pairs that differ in a number, a name, a
    date or a negation are never merged, but proposed to a person. Before that, pairs leave a survivor that has lost its
    consent, to stand for themselves or behind another.

    Raises:
        ImproperlyConfigured: there is no embedder.

    """
    settings = night.config.merge
    earlier = last_marks(embedder=night.version(), threshold=settings.similarity_threshold, using=night.using)
    outcomes: dict[Channel, ChannelOutcome] = {}
    released = 0
    budget = settings.max_proposals
    for channel in (SFT, PREFERENCE):
        released += len(release_pairs(night, channel.model))
        outcomes[channel] = merge_channel(night, channel, earlier.get(channel.name), budget=budget)
        budget -= len(outcomes[channel].proposed.made)
    marks = Marks(
        embedder=night.version(),
        threshold=settings.similarity_threshold,
        channels={channel.name: outcome.marks for channel, outcome in outcomes.items()},
    )
    return StepOutcome(
        counts={"released_for_consent": released, **_counts(outcomes)},
        details={
            "comparison": {channel.name: outcome.comparison for channel, outcome in outcomes.items()},
            "complete": all(outcome.complete for outcome in outcomes.values()),
            "marks": marks.as_json(),
            "notes": list(_notes(outcomes)),
            "examples": [*_merged(night, outcomes), *_proposed(night, outcomes)],
        },
    )


def _counts(outcomes: Mapping[Channel, ChannelOutcome]) -> dict[str, int]:
    done = outcomes.values()
    return {
        **{f"{channel.name}_merged": outcome.written.merged for channel, outcome in outcomes.items()},
        "released": sum(len(each.written.released) for each in done),
        "groups": sum(len(each.written.survivors) for each in done),
        "proposals": sum(len(each.proposed.made) for each in done),
        "proposals_beyond_budget": sum(each.proposed.beyond_budget for each in done),
        "compared_pairs": sum(each.compared for each in done),
        "left_for_next_night": sum(len(each.written.left) for each in done),
    }


def _notes(outcomes: Mapping[Channel, ChannelOutcome]) -> Iterator[str]:
    for channel, outcome in outcomes.items():
        if not outcome.complete:
            yield f"So many {channel.words} are alike that each was compared with the best ones of them alone."
        if outcome.undecided:
            yield (
                f"{outcome.undecided:,} {channel.words} wait for another night: too many rejected answers had to be "
                "embedded."
            )
        waiting = len(outcome.proposed.waiting)
        if waiting < outcome.proposed.beyond_budget:
            yield (
                f"Of {outcome.proposed.beyond_budget:,} more proposals of {channel.words} the {waiting:,} most similar "
                "wait for the next nights; the others are found again when all pairs are compared."
            )


def _merged(night: Night, outcomes: Mapping[Channel, ChannelOutcome]) -> list[dict[str, Any]]:
    """Return the least similar merges, with the beginnings of what was answered."""
    found = []
    for channel, outcome in outcomes.items():
        examples = outcome.written.examples
        keys = np.array(sorted({key for each in examples for key in each[:2]}), dtype=np.int64)
        texts = {
            key: each
            for read, portion in read_texts(channel, keys, using=night.using)
            for key, each in zip(read.tolist(), portion, strict=True)
        }
        found += [_merge_example(channel, each, texts) for each in examples]
    return found[: night.config.report.examples]


def _merge_example(channel: Channel, done: Merge, texts: Mapping[int, PairTexts]) -> dict[str, Any]:
    return {
        "kind": "merged",
        "about": f"{channel.words}: {done.member} into {done.survivor}, similarity {done.similarity:.3f}",
        "channel": channel.name,
        "pairs": [done.member, done.survivor],
        "similarity": round(done.similarity, 4),
        "texts": _lines([texts[key] for key in done[:2] if key in texts]),
    }


def _proposed(night: Night, outcomes: Mapping[Channel, ChannelOutcome]) -> list[dict[str, Any]]:
    found = [
        {
            "kind": "proposed",
            "about": f"{each.kind.value}, {channel.words} {each.newer} / {each.older}: {each.reason}",
            "channel": channel.name,
            "pairs": [each.newer, each.older],
            "similarity": round(similarity, 4),
            "texts": _lines(each.texts),
        }
        for channel, outcome in outcomes.items()
        for each, similarity in outcome.proposed.made
    ]
    return found[: night.config.report.examples]


def _lines(texts: Sequence[PairTexts]) -> list[str]:
    """Return the beginning of each pair in one line."""
    lines = (" ".join(f"{each.question} → {each.answer}".split()) for each in texts)
    return [line if len(line) <= _LONGEST_EXAMPLE else f"{line[: _LONGEST_EXAMPLE - 1]}…" for line in lines]
