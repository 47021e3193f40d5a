"""A night while people and programs write into the same database.

    python -m tests.maintenance.crashes.company FOLDER SEED

prints a JSON object. The night and each of the others are processes of their own; they go on until the night has ended.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import django

from tests.maintenance.crashes.kills import (
    NEVER,
    database,
    in_process,
    load_steps,
    make_template,
    new_database,
    take_night,
)

# However fast the night is, each of the others has done so much.
LEAST = 15


def edit(chance: random.Random) -> dict[str, Any]:
    """Approve, reject or rewrite a pair, as a person does in the admin; return what the pair is to be from now on."""
    from django.db import transaction

    from memory import curation
    from memory.history import keep_originals
    from memory.models import SftPair

    keys = list(SftPair.objects.filter(archived_at=None).order_by("pk").values_list("pk", flat=True))
    chosen = SftPair.objects.filter(pk=chance.choice(keys))
    act = chance.choice([curation.approve, curation.reject, None])
    if act is not None:
        act(pairs=chosen, user=None)
    else:
        with transaction.atomic():
            pair = chosen.select_for_update().get()
            keep_originals(chosen)
            pair.response = f"rewritten {time.monotonic_ns()}"
            pair.prepare()
            pair.save(update_fields=["response", "content_hash"])
    pair = chosen.get()
    return {"pk": pair.pk, "response": pair.response, "review_status": str(pair.review_status)}


def train(chance: random.Random) -> dict[str, Any]:
    """Let a run consume two pairs, as long as there are unused ones; return which."""
    from tests.training.runs import config
    from training.ledger import UsedBatch, record_step
    from training.models import TrainingRun
    from training.selection import sft_pool

    pool = list(sft_pool(config("any")).train)
    records = chance.sample(pool, min(2, len(pool)))
    run = TrainingRun.objects.create(config_path="run.yaml", config={}, status=TrainingRun.Status.SUCCEEDED)
    record_step(run, step=1, batches=[UsedBatch("sft", records, epoch=0, weight=0.5)])
    return {"used": [record.id for record in records]}


def extract(chance: random.Random) -> dict[str, Any]:
    """Store a conversation and extract from everything, as `extract_sft_pairs --all` does."""
    from memory.extraction import pipeline
    from memory.extraction.request import ExtractionOptions, Selection
    from tests.maintenance.crashes.memories import embedder
    from tests.memory.extraction.talks import answer, asked

    number = chance.randrange(10**9)
    answer(asked(f"what is number {number}", f"late-{number}"), f"it is {number}")
    pipeline.extract(Selection(), ExtractionOptions(), load=embedder)
    return {"talk": f"late-{number}"}


def keep_doing(act: Callable[[random.Random], dict[str, Any]], seed: str, ended: Path) -> dict[str, Any]:
    """Do it again and again until the night has ended; return what was done, and the longest time that it took."""
    parent = os.getppid()
    chance = random.Random(f"{seed} {act.__name__}")
    done: list[dict[str, Any]] = []
    longest = 0.0
    while not ended.exists() or len(done) < LEAST:
        began = time.monotonic()
        done.append(act(chance))
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.01)
        if os.getppid() != parent:
            raise SystemExit("nobody waits any more")
    return {"done": done, "longest_seconds": longest}


def look(artifacts: Path, known: set[str], told: dict[str, Any]) -> list[str]:
    """Return what the night, or anybody else, has lost of what the others did."""
    from maintenance.models import MaintenanceRun, MaintenanceStep
    from memory.models import SftPair
    from tests.maintenance.crashes.states import broken_promises
    from training.models import PairUse

    run = MaintenanceRun.objects.order_by("-pk")[0]
    found = [f"{step.name}: {step.error}" for step in MaintenanceStep.objects.filter(run=run, status="failed")]
    if run.status != "succeeded":
        found.append(f"the night: {run.status} {run.error}")
    last = {each["pk"]: each for each in told["edit"]["done"]}
    for pk, meant in last.items():
        row = SftPair.objects.filter(pk=pk).values("pk", "response", "review_status").first()
        if row != meant:
            found.append(f"edited: {meant} became {row}")
    used = {pk for each in told["train"]["done"] for pk in each["used"]}
    found += [f"trained and not marked: {pk}" for pk in SftPair.objects.filter(pk__in=used, is_used=False)]
    unrecorded = used - set(PairUse.objects.values_list("sft_pair", flat=True))
    found += [f"trained and not in the ledger: {pk}" for pk in unrecorded]
    talks = [each["talk"] for each in told["extract"]["done"]]
    extracted = SftPair.objects.filter(conversation__external_id__in=talks).count()
    if extracted != len(talks):
        found.append(f"extracted: {extracted} pairs of {len(talks)} answers")
    return found + broken_promises(artifacts, before=known)


def main(arguments: Sequence[str]) -> None:
    folder, seed = Path(arguments[0]), arguments[1]
    template = folder / "template"
    template.mkdir(parents=True)
    django.setup()
    from maintenance.steps import STEPS

    load_steps()
    new_database(template)
    _, before = in_process(lambda: make_template(template), template / "state.json")
    place, ended = folder / "company", folder / "ended"
    place.mkdir()
    with database(template, place):
        children = {act.__name__: _started(act, seed, ended, folder) for act in (edit, train, extract)}
        artifacts = template / "artifacts"
        in_process(lambda: take_night(STEPS, artifacts, NEVER), folder / "night.json")
        ended.touch()
        told = {name: _ended(child, folder / f"{name}.json") for name, child in children.items()}
        _, problems = in_process(lambda: look(artifacts, set(before["known"]), told), folder / "look.json")
    counts = {name: len(each["done"]) for name, each in told.items()}
    longest = {name: each["longest_seconds"] for name, each in told.items()}
    sys.stdout.write(json.dumps({"problems": problems, "counts": counts, "longest_seconds": longest}))


def _started(act: Callable[[random.Random], dict[str, Any]], seed: str, ended: Path, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        told: dict[str, Any] = {"done": [], "longest_seconds": 0.0}
        try:
            told = keep_doing(act, seed, ended)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        (folder / f"{act.__name__}.json").write_text(json.dumps(told))
        os._exit(0)
    return child


def _ended(child: int, told: Path) -> dict[str, Any]:
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"a process failed: {told.stem}")
    found: dict[str, Any] = json.loads(told.read_text())
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
