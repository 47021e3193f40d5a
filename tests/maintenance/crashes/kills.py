"""Nights that are killed at a random moment, and what the next night makes of them.

    python -m tests.maintenance.crashes.kills FOLDER SEED STEP=COUNT…

prints a JSON list with an entry for each night. `STEP` is the name of a step, or `night` for all of them; `train` goes
on with `evaluate`, on the model in the folder that the environment variable CRASH_MODEL names. A moment is
a statement to the database, a change in the artifacts folder or a call of the embedder, counted from the night's
beginning; a night dies by SIGKILL just before it. Every night is a process of its own, forked from one that has the
steps loaded, with a copy of the same database and of the same artifacts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from memory.embeddings import Vectors

NIGHT, TRAIN = "night", "train"
NEVER = 0
MODEL = "CRASH_MODEL"
_CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("shutil.rmtree", "sqlite3.connect"),
}


class Moments:
    """Counts what a night does, and ends it just before the given moment."""

    def __init__(self, artifacts: Path, fatal: int) -> None:
        self._folder, self._fatal = str(artifacts), fatal
        self.count = 0

    def next(self, what: str) -> None:
        self.count += 1
        if self.count == self._fatal:
            # Read by the parent: which moment it was.
            Path(f"{self._folder}.moment").write_text(what)
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Watch the database and the artifacts folder, for the rest of this process."""
        from django.db import connection

        connection.execute_wrappers.append(self._statement)
        sys.addaudithook(self._change)

    def _statement(self, execute: Any, sql: str, *arguments: Any) -> Any:
        self.next(sql[:160])
        return execute(sql, *arguments)

    def _change(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in _CHANGES) and str(arguments[0]).startswith(f"{self._folder}/"):
            self.next(f"{event} {arguments[0]}")


class CountedEmbedder:
    """An embedder whose calls are moments, too."""

    def __init__(self, moments: Moments) -> None:
        from tests.maintenance.crashes.memories import embedder

        self._embedder, self._moments = embedder(), moments
        self.version, self.dimension = self._embedder.version, self._embedder.dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        self._moments.next("encode")
        return self._embedder.encode(texts)


def in_process(work: Callable[[], Any], told: Path) -> tuple[int, Any]:
    """Do the work in a forked process; return the signal that ended it, or 0, and what it returned."""
    from django.db import connections

    child = os.fork()
    if child == 0:
        try:
            told.write_text(json.dumps(work()))
            connections.close_all()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a process failed: {told}")
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status), None
    return 0, json.loads(told.read_text())


def take_night(steps: Sequence[str], artifacts: Path, fatal: int) -> int:
    """Take a night; return how many moments it had."""
    from maintenance.nightly import NightOrder, run_night
    from tests.maintenance.crashes.memories import CONFIG, NOW, TRAINING

    moments = Moments(artifacts, fatal)
    embedder = CountedEmbedder(moments)
    moments.watch()
    order = NightOrder(
        config=CONFIG if TRAIN not in steps or len(steps) > 2 else TRAINING,
        config_path=Path("nightly.yaml"),
        steps=steps,
        dry_run=False,
        artifacts=artifacts,
        project=artifacts,
    )
    run_night(order, say=lambda line: None, now=NOW, version=lambda: embedder.version, load=lambda: embedder)
    return moments.count


def undo_all(artifacts: Path) -> list[str]:
    """Undo the nights that had changed anything, newest first; return what could not be put back."""
    from maintenance.models import MaintenanceRun
    from maintenance.undo import undo
    from tests.maintenance.crashes.memories import NOW

    refused: list[str] = []
    for run in MaintenanceRun.objects.filter(started_at=NOW).order_by("-pk"):
        report = undo(run, artifacts=artifacts, using="default")
        refused += [f"{each.table} {each.row}: {each.reason}" for each in report.refused]
    return refused


class Story:
    """One night in a place of its own, and what comes after it."""

    def __init__(self, folder: Path, template: Path, steps: Sequence[str]) -> None:
        self.folder, self.artifacts, self._steps = folder, folder / "artifacts", steps
        folder.mkdir()
        shutil.copytree(template / "artifacts", self.artifacts, symlinks=True)

    def night(self, *, fatal: int) -> tuple[int, Any]:
        return in_process(lambda: take_night(self._steps, self.artifacts, fatal), self.folder / "night.json")

    def afterwards(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return what the killed night left, what the next one made of it, and what was there once both are undone."""
        from tests.maintenance.crashes.states import broken_promises, state, unfinished, untrained

        def look() -> dict[str, Any]:
            known = set(before["known"])
            problems = [f"at once: {problem}" for problem in broken_promises(self.artifacts, before=known)]
            take_night(self._steps, self.artifacts, NEVER)
            problems += broken_promises(self.artifacts, before=known) + unfinished(self.artifacts)
            if self._steps[0] == TRAIN:
                return {"problems": problems + untrained(self.artifacts)}
            after = state(self.artifacts)
            refused = undo_all(self.artifacts)
            return {"problems": problems, "after": after, "refused": refused, "undone": state(self.artifacts)}

        _, told = in_process(look, self.folder / "afterwards.json")
        found: dict[str, Any] = told
        return found


def new_database(template: Path) -> None:
    """Let the processes forked from here work on a database of their own, as yet empty."""
    from django.db import connection

    if connection.vendor == "sqlite":
        connection.settings_dict["NAME"] = str(template / "rows.sqlite3")
    else:
        name = f"template_{os.getpid()}"
        _on_server(f"CREATE DATABASE {name}")
        connection.settings_dict["NAME"] = name


@contextmanager
def database(template: Path, folder: Path) -> Iterator[None]:
    """Let the processes forked from here work on a copy of the template's database."""
    from django.db import connection

    kept = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        copy = str(folder.parent / f"{folder.name}.sqlite3")
        shutil.copy(template / "rows.sqlite3", copy)
    else:
        copy = f"story_{os.getpid()}_{folder.name}"
        _on_server(f"CREATE DATABASE {copy} TEMPLATE {kept}")
    connection.settings_dict["NAME"] = copy
    try:
        yield
    finally:
        connection.settings_dict["NAME"] = kept
        if connection.vendor == "sqlite":
            for path in folder.parent.glob(f"{folder.name}.sqlite3*"):
                path.unlink()
        else:
            _on_server(f"DROP DATABASE {copy} WITH (FORCE)")


def _on_server(statement: str) -> None:
    import psycopg
    from django.db import connection

    parameters = {**connection.get_connection_params(), "dbname": "postgres"}
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters, autocommit=True) as server:
        server.execute(statement.encode())


def make_template(folder: Path) -> dict[str, Any]:
    """Migrate and fill the template; return its state."""
    from django.core.management import call_command

    from tests.maintenance.crashes.memories import populate, write_training_config
    from tests.maintenance.crashes.states import Names, state

    call_command("migrate", verbosity=0)
    (folder / "artifacts").mkdir()
    write_training_config(folder / "artifacts", os.environ.get(MODEL, "none"))
    populate(folder / "artifacts")
    return {"known": sorted(Names(folder / "artifacts").keys()), "state": state(folder / "artifacts")}


def load_steps() -> None:
    """Import what the nights need, once for all the processes to come; none of it opens the database."""
    # What steps import in their functions takes each process a second.
    import scipy.optimize  # noqa: F401
    import sklearn.cluster
    import sklearn.feature_extraction.text  # noqa: F401
    import torch  # noqa: F401

    from maintenance.steps import STEPS, load_step

    for name in STEPS:
        load_step(name)


def main(arguments: Sequence[str]) -> None:
    folder, seed, *wanted = arguments
    template = Path(folder) / "template"
    template.mkdir(parents=True)
    django.setup()
    from maintenance.steps import STEPS

    load_steps()
    if MODEL in os.environ:
        import training.trainer.run  # noqa: F401 - as above
    new_database(template)
    _, before = in_process(lambda: make_template(template), template / "state.json")
    stories: list[dict[str, Any]] = []
    for name, count in (pair.split("=") for pair in wanted):
        steps = {NIGHT: STEPS, TRAIN: [TRAIN, "evaluate"]}.get(name, [name])
        chance = random.Random(f"{seed} {name}")
        place = Path(folder) / f"{name}_never"
        with database(template, place):
            undisturbed = Story(place, template, steps)
            _, moments = undisturbed.night(fatal=NEVER)
            expected = undisturbed.afterwards(before)
        stories.append({"step": name, "fatal": NEVER, "moments": moments, **told(expected, expected, before)})
        for fatal in sorted(chance.sample(range(1, moments + 1), min(int(count), moments))):
            place = Path(folder) / f"{name}_{fatal}"
            with database(template, place):
                story = Story(place, template, steps)
                died_of, _ = story.night(fatal=fatal)
                found = story.afterwards(before)
            what = Path(f"{story.artifacts}.moment").read_text() if died_of else ""
            stories.append(
                {"step": name, "fatal": fatal, "what": what, "died_of": died_of, **told(found, expected, before)}
            )
            shutil.rmtree(place)
    sys.stdout.write(json.dumps(stories))


def told(found: dict[str, Any], expected: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what is wrong with a story: nothing, where the night may be killed."""
    from tests.maintenance.crashes.states import NOT_UNDONE, differences

    if "after" not in found:
        # Two trainings of the same pairs share no number to the last bit, and one that began anew has other pairs.
        return {"problems": found["problems"], "differs": [], "refused": [], "not_undone": [], "changed": ["PairUse"]}
    return {
        "problems": found["problems"],
        "differs": differences(found["after"], expected["after"]),
        "refused": found["refused"],
        "not_undone": differences(found["undone"], before["state"], besides=NOT_UNDONE),
        "changed": [table for table, lines in found["after"].items() if lines != before["state"][table]],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
