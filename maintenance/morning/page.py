"""The morning report in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.evaluation.markdown import escaped, table
from training.sampling.schedule import CHANNEL_NAMES

# What the counts of a step mean, in the words of a report; a count without words is named as it is.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "extract": {
        "conversations": "conversations read",
        "unchanged": "conversations in which nothing had changed",
        "sft_created": "memory pairs made",
        "preference_created": "preference pairs made",
        "replay_created": "replay entries made",
        "dropped": "drafts or turns left out",
    },
    "embed": {
        "embedded_sft": "memory pairs embedded",
        "embedded_preference": "preference pairs embedded",
        "replaced": "of these in place of an older vector",
    },
    "merge": {
        "released_for_consent": "pairs that left one which has lost its consent",
        "sft_merged": "memory pairs merged away",
        "preference_merged": "preference pairs merged away",
        "released": "merged pairs back in the pool, unlike the pair that theirs went to; compared the next night",
        "groups": "pairs that stand for others now",
        "proposals": "new proposals for a person",
        "proposals_beyond_budget": "more that the nights to come propose, the most similar first",
        "compared_pairs": "pairs compared with all others",
        "left_for_next_night": "pairs that somebody changed meanwhile, left for the next night",
    },
    "retire": {
        "archived_age": "pairs archived for their age",
        "archived_uses": "pairs archived after many uses",
        "archived_rejected": "pairs archived that had long been rejected",
        "archived_merged": "pairs archived with the pair that stands for them",
        "exported_sft": "memory pairs moved into archive files",
        "exported_preference": "preference pairs moved into archive files",
        "kept": "pairs kept in the database that somebody changed meanwhile",
    },
    "reemit": {
        "sft_reemitted": "memory pairs offered to training again",
        "preference_reemitted": "preference pairs offered to training again",
        "did_not_stick": "of these had not stuck in their last run",
    },
    "recluster": {
        "clustered": "pairs whose cluster is new or another",
        "assigned": "new pairs put into existing clusters",
        "clusters": "clusters",
    },
    "replay": {"evicted": "entries left the buffer", "returned": "entries came back", "kept": "entries kept"},
    "train": {"sft_unused": "unused memory pairs found", "preference_unused": "unused preference pairs found"},
    "evaluate": {"evaluated": "runs compared with the adapter before them"},
    "housekeeping": {
        "run_folders_removed": "run folders removed",
        "checkpoint_folders_removed": "folders with checkpoints removed",
        "partials_removed": "half-written folders removed",
        "references_removed": "stored reference files removed",
        "reports_removed": "old morning reports removed",
        "backups": "backup made and verified",
        "backups_removed": "older backups removed",
        "changes_removed": "rows of the journal removed, whose nights can no longer be undone",
        "histories_removed": "rows of history removed, whose pairs are gone",
        "sessions_removed": "ended sessions removed",
    },
}
_TITLES = {
    "extract": "What was added",
    "embed": "Embeddings",
    "merge": "Duplicates",
    "retire": "What was archived",
    "reemit": "Offered to training again",
    "recluster": "Topics",
    "replay": "Replay buffer",
    "train": "Training",
    "evaluate": "The new adapter",
    "housekeeping": "Housekeeping",
}
_POOL = ("unused", "used", "merged", "archived", "rejected")
_FIGURES = (
    ("recall", "recall", "{:.0%}"),
    ("preference_accuracy", "preference accuracy", "{:.0%}"),
    ("sft_loss_median", "memory loss, median token", "{:.3f}"),
    ("general_loss_median", "loss on general text, median token", "{:.3f}"),
)
_LONGEST_TEXT = 160
_LONGEST_ERROR = 400


def render_morning(figures: Mapping[str, Any], *, examples: int) -> str:
    """Return the report; `examples` is the most examples of each kind."""
    steps: Mapping[str, Any] = figures["steps"]
    parts = [f"# Night {figures['run']}", summary(figures), *_failures(steps), _waiting(figures["waiting"])]
    parts.append(f"## The pools\n\n{_pools(figures)}")
    parts += [_section(name, step, figures, examples) for name, step in steps.items() if _did_something(step)]
    parts.append(f"## What it took\n\n{_costs(steps)}")
    parts.append(_undo(figures["run"]))
    return "\n\n".join(parts) + "\n"


def summary(figures: Mapping[str, Any]) -> str:
    """Return the night in one sentence."""
    steps = figures["steps"]
    failed = [name for name, step in steps.items() if step["status"] in ("failed", "interrupted")]
    seconds = sum(step["seconds"] or 0 for step in steps.values())
    how = f"{len(steps)} steps in {_duration(seconds)}, begun {figures['started_at'][:16].replace('T', ' ')}"
    return f"{how}. {f'**Failed: {_listed(failed)}.**' if failed else 'All went well.'}"


def _failures(steps: Mapping[str, Any]) -> Iterator[str]:
    for name, step in steps.items():
        if step["status"] in ("failed", "interrupted"):
            yield f"> **{name}** {step['status']}: {escaped(step['error'], longest=_LONGEST_ERROR)}"


def _did_something(step: Mapping[str, Any]) -> bool:
    # A step that failed may have done a part of its work.
    return step["status"] == "succeeded" or (step["status"] == "failed" and any(step["counts"].values()))


def _waiting(waiting: Mapping[str, int]) -> str:
    return (
        f"Waiting for a person: {waiting['proposals']:,} open proposals, {waiting['pending_sft']:,} memory pairs and "
        f"{waiting['pending_preference']:,} preference pairs to review."
    )


def _pools(figures: Mapping[str, Any]) -> str:
    before = (figures["before"] or {}).get("pools", {})
    rows = [
        [CHANNEL_NAMES[channel], *(_moved(pool[name], before.get(channel, {}).get(name)) for name in _POOL)]
        for channel, pool in figures["pools"].items()
    ]
    return table(["channel", *_POOL], rows)


def _moved(now: int, before: int | None) -> str:
    """Return a number with how far it moved since the report before."""
    return f"{now:,}" if before is None or before == now else f"{now:,} ({now - before:+,})"


def _section(name: str, step: Mapping[str, Any], figures: Mapping[str, Any], examples: int) -> str:
    words = _WORDS.get(name, {})
    lines = [
        f"- {value:,} {words.get(count, count.replace('_', ' '))}" for count, value in step["counts"].items() if value
    ]
    parts = [f"## {_TITLES.get(name, name)}", "\n".join(lines) or "Nothing to do."]
    if name == "recluster" and figures["clustering"]:
        parts.append(_topics(figures["clustering"]))
    if name == "train" and figures["training"]:
        parts.append(_trained(figures["training"]))
    if name == "evaluate":
        parts += [_compared(run) for run in step["details"].get("runs", ())]
    parts += _notes(step["details"])
    parts += _examples(step["details"].get("examples", ()), examples)
    return "\n\n".join(parts)


def _topics(clustering: Mapping[str, Any]) -> str:
    before = clustering["coverage_before"]
    moved = "" if before is None else f" (before: {before:.0%})"
    drift = clustering["drift"]
    changed = "" if drift is None else f"; {drift:.1%} of the pairs changed their cluster"
    return f"{clustering['coverage']:.0%} of the clusters hold an unused pair{moved}{changed}."


def _trained(training: Mapping[str, Any]) -> str:
    rows = []
    for name, words, form in _FIGURES:
        values = [training.get(f"{name}_{when}") for when in ("before", "after")]
        if any(value is not None for value in values):
            rows.append([words, *("-" if value is None else form.format(value) for value in values)])
    drift = training.get("drift_ratio")
    if drift is not None:
        rows.append(["drift, median token", "", f"{drift:+.1%}"])
    return f"Run {training['run']}, {training['steps']} steps.\n\n{table(['', 'before', 'after'], rows)}"


def _compared(run: Mapping[str, Any]) -> str:
    """Tell how a new adapter compares with what was there before."""
    verdict = "passed" if run["passed"] else f"did not pass: {escaped(run['note'], longest=_LONGEST_ERROR)}"
    failed = [check["line"] for check in run["checks"] if not check["passed"]]
    lines = [escaped(line, longest=_LONGEST_ERROR) for line in (*filter(None, [run["error"]]), *failed)]
    return "\n".join([f"Run {run['run']} {verdict}.", "", *(f"- {line}" for line in lines)]).rstrip()


def _notes(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a step has to say in words."""
    for note in details.get("notes", ()):
        yield escaped(str(note), longest=_LONGEST_ERROR)


def _examples(examples: Sequence[Mapping[str, Any]], most: int) -> Iterator[str]:
    """Yield examples kind by kind: what each is, then its texts."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for example in examples:
        kinds.setdefault(str(example.get("kind", "example")), []).append(example)
    for kind, found in kinds.items():
        lines = [f"### {escaped(kind.replace('_', ' '), longest=_LONGEST_TEXT).capitalize()}", ""]
        for example in found[:most]:
            lines.append(f"- {escaped(str(example.get('about', '')), longest=_LONGEST_TEXT)}")
            lines += [f"  - {escaped(str(text), longest=_LONGEST_TEXT)}" for text in example.get("texts", ())]
        yield "\n".join(lines)


def _costs(steps: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            step["status"],
            "-" if step["seconds"] is None else f"{step['seconds']:.1f}",
            "-" if step["peak_rss_mb"] is None else f"{step['peak_rss_mb']:,.0f}",
            escaped(step["error"], longest=_LONGEST_TEXT) if step["status"] == "skipped" else "",
        ]
        for name, step in steps.items()
    ]
    return table(["step", "status", "seconds", "most memory, MB", ""], rows)


def _undo(run: int) -> str:
    return (
        f"To put back what the night did to rows: `manage.py undo_maintenance {run}`, or a step of it alone: "
        f"`manage.py undo_maintenance {run} --step merge`. Rows that a person changed since are left alone, and named."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
