"""Runs of the tiny model that are killed at a named moment, and what going on makes of them.

    python -m tests.training.crashes MODEL TEMPLATE_DATABASE FOLDER MOMENT…

prints a JSON object with an entry for each moment. Every run is a process of its own, forked from one that has torch
loaded, with a copy of the template database, and dies by SIGKILL.
"""

import gc
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

STEPS = 10
SAVE_STEPS = 4
GENERAL_TEXT = {
    "retention": [
        {
            "prompt": [{"role": "user", "content": f"tell me about day {number}"}],
            "completion": [{"role": "assistant", "content": f"it was fine thank you {number}"}],
        }
        for number in range(5)
    ]
}
# What two runs of the same pairs do not share.
BY_THE_CLOCK = ("age_days_median", "tokens_per_second")
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "save_steps": SAVE_STEPS,
    "sft_learning_rate": 5e-3,
    "preference_learning_rate": 5e-3,
    # Everything that has a state of its own, which a run that goes on must find again.
    "lora": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1},
    "normalize_losses": True,
    "dynamic_weighting": True,
    "retention": {"path": "general_text.json", "every_steps": 2},
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(moment: str) -> Callable[[Any], None]:
    """Arrange for the death of this process at the moment; return what hears of every step."""
    kind, _, number = moment.partition(" ")
    if kind == "step":
        return lambda result: die() if result.step == int(number) else None
    if kind in {"saving", "saved"}:
        _die_at_checkpoint(int(number), before_its_end=kind == "saving")
    elif kind == "ledger":
        _die_at_statement('INSERT INTO "training_pairuse"', count=int(number))
    elif kind == "success":
        _die_at_statement('UPDATE "training_trainingrun" SET "status"', count=1)
    return lambda result: None


def _die_at_checkpoint(step: int, *, before_its_end: bool) -> None:
    from transformers import Trainer

    name = "_save_rng_state" if before_its_end else "_save_checkpoint"
    save = getattr(Trainer, name)

    def saved(trainer: Any, *arguments: Any) -> None:
        save(trainer, *arguments)
        if trainer.state.global_step == step:
            die()

    setattr(Trainer, name, saved)


def _die_at_statement(beginning: str, *, count: int) -> None:
    from django.db import connection

    seen = 0

    def watched(execute: Any, sql: str, *arguments: Any) -> Any:
        nonlocal seen
        seen += sql.startswith(beginning)
        if seen == count:
            die()
        return execute(sql, *arguments)

    connection.execute_wrappers.append(watched)


def in_process(work: Callable[[], None]) -> int:
    """Do the work in a forked process; return the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def use_database(path: Path) -> None:
    from django.db import connection

    connection.settings_dict["NAME"] = str(path)


def outcome() -> dict[str, Any]:
    """Return all that a finished run left in database and folder."""
    from memory.models import PreferencePair, SftPair
    from training.models import PairUse, TrainingRun

    run = TrainingRun.objects.get()
    adapter = Path(run.adapter)
    columns = ("sft_pair", "preference_pair", "step", "epoch", "weight", "content_hash")
    return {
        "status": run.status,
        "trained": [line.pop("trained") for line in run.metrics["steps"]],
        "steps": [
            {name: line[name] for name in line if not name.endswith(BY_THE_CLOCK)} for line in run.metrics["steps"]
        ],
        "channels": [run.metrics["sft"], run.metrics["preference"]],
        "uses": sorted(PairUse.objects.values_list(*columns), key=str),
        "used": [
            sorted(model.objects.used().values_list("pk", "training_epoch")) for model in (SftPair, PreferencePair)
        ],
        "losses": dict(SftPair.objects.values_list("pk", "loss")),
        "adapter_checksum": json.loads((adapter / "manifest.json").read_text())["adapter_checksum"],
        "is_active": (adapter.parent / "active").resolve() == adapter.resolve(),
        "left": sorted(path.name for path in adapter.parent.iterdir() if path.name.startswith(".")),
    }


def story(moment: str, *, model: str, template: Path, folder: Path) -> dict[str, Any]:
    """Train until the moment, edit every text, go on to the end; return what that left."""
    from tests.training import runs

    folder.mkdir()
    (folder / "general_text.json").write_text(json.dumps(GENERAL_TEXT))
    database, report = folder / "rows.sqlite3", folder / "outcome.json"
    shutil.copy(template, database)
    settings = runs.config(model, **SETTINGS)

    def begin() -> None:
        use_database(database)
        runs.started(settings, folder, on_step=die_at(moment))

    def go_on() -> None:
        from memory.models import PreferencePair, SftPair

        use_database(database)
        SftPair.objects.update(response="edited meanwhile")
        PreferencePair.objects.update(chosen="edited meanwhile")
        runs.resumed(settings, folder)

    def tell() -> None:
        use_database(database)
        report.write_text(json.dumps(outcome()))

    died_of = in_process(begin)
    if moment != "never":
        in_process(go_on)
    in_process(tell)
    return {"died_of": died_of, **json.loads(report.read_text())}


def main() -> None:
    django.setup()
    import training.trainer.run  # noqa: F401 - loaded once for all the processes to come

    # As `tests.conftest` does; else each of them would copy what it collects.
    gc.freeze()
    model, template, folder, *moments = sys.argv[1:]
    stories = {
        moment: story(moment, model=model, template=Path(template), folder=Path(folder) / f"{number}")
        for number, moment in enumerate(moments)
    }
    sys.stdout.write(json.dumps(stories))


if __name__ == "__main__":
    main()
