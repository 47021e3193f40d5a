"""What mixing the channels is worth: one budget of samples, trained in every way, measured on the same things.

Run as `python -m tests.benchmarks.bench_mixtures FOLDER`, which takes an hour and a half on two cores. FOLDER is
for the database and the unpacked model. The runs have the demo's data and config but for what their name says; each is
printed as a JSON line.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.sections import write_section

BASE = Path(__file__).resolve().parents[2]
CONFIG = BASE / "config/training/lora_demo.yaml"
ROWS = (
    "recall_after",
    "preference_accuracy_after",
    "preference_margin_after",
    "drift_ratio",
    "drift_mean_ratio",
)

HEAD = ["run", "recall", "preference accuracy", "margin, nats a token", "drift, median / mean", "seconds"]


def main() -> None:
    """Train every contender, print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of contenders; all without it")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.environ["DATABASE_URL"] = f"sqlite:///{given.folder.resolve() / 'mixtures.sqlite3'}"
    os.environ["ARTIFACTS_DIR"] = str(given.folder.resolve())
    os.environ["HF_HUB_OFFLINE"] = "1"
    import django

    django.setup()
    scene = _scene(given.folder)
    for section, contenders in (("mixtures", _mixtures(scene)), ("drift", _against_drift(scene))):
        lines = []
        for name, train in contenders:
            if given.only and name not in given.only:
                continue
            started = time.perf_counter()
            figures = train()
            line = {"run": name, "seconds": round(time.perf_counter() - started), **figures}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            lines.append(line)
        if not given.only:
            write_section(section, HEAD, [_cells(line) for line in lines])


def _cells(line: dict[str, Any]) -> list[str]:
    return [
        line["run"],
        f"{line['recall_after']:.0%}",
        f"{line['preference_accuracy_after']:.0%}",
        f"{line['preference_margin_after']:.2f}",
        f"{line['drift_ratio']:+.1%} / {line['drift_mean_ratio']:+.1%}",
        str(line["seconds"]),
    ]


@dataclass(frozen=True)
class Scene:
    """The demo's pools with what they are measured on."""

    folder: Path
    prepared: Any
    evaluation: Any

    def config(self, **changes: Any) -> Any:
        """Return the demo's config with changes."""
        return self.prepared.config.model_copy(update=changes)


def _scene(folder: Path) -> Scene:
    from django.core.management import call_command

    from training.config import load_config
    from training.evaluation.evaluation_set import load_evaluation_set
    from training.preparation import Places, prepare

    call_command("migrate", verbosity=0)
    call_command("import_conversations", BASE / "memory/demo/conversations.jsonl", stdout=sys.stderr)
    call_command("extract_sft_pairs", "--all", stdout=sys.stderr)
    prepared = prepare(load_config(CONFIG), config_path=CONFIG, places=Places(BASE, folder))
    evaluation = load_evaluation_set(
        prepared.config,
        base_dir=BASE,
        sft=prepared.sft.held_out,
        preference=prepared.preference.held_out,
    )
    return Scene(folder, prepared, evaluation)


def _mixtures(scene: Scene) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield each way of training; all but the last two hold the model to its base on general text."""
    steps = scene.prepared.plan.steps
    memory = tuple(step for step in steps if step.batches[0].channel == "sft")
    preference = tuple(step for step in steps if step.batches[0].channel == "preference")
    # Two preference pairs in each of 168 steps are three in each of 112.
    mixed = scene.config(batch_mixing="mixed", max_steps=len(memory), preference_batch_size=3)
    alternating = scene.config(batch_mixing="alternating")
    free = scene.config(retention=scene.prepared.config.retention.model_copy(update={"weight": 0.0}))
    yield "memory only", lambda: _ours(scene, scene.config(), memory)
    yield "preference only", lambda: _ours(scene, scene.config(), preference)
    yield "interleaved", lambda: _ours(scene, scene.config(), steps)
    yield "mixed", lambda: _ours(scene, mixed, _planned(scene, mixed))
    yield "alternating", lambda: _ours(scene, alternating, _planned(scene, alternating))
    yield "interleaved, no retention", lambda: _ours(scene, free, steps)
    yield "TRL: SFT, then DPO", lambda: _trl(scene, memory, preference)


def _against_drift(scene: Scene) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield what else might keep general text as likely as it was: first in place of retention, then beside it."""
    config, steps = scene.prepared.config, scene.prepared.plan.steps
    preference = tuple(step for step in steps if step.batches[0].channel == "preference")
    without = {"retention": config.retention.model_copy(update={"weight": 0.0})}
    half_rates = {
        "sft_learning_rate": config.sft_learning_rate / 2,
        "preference_learning_rate": config.preference_learning_rate / 2,
    }
    stopping = config.early_stopping.model_copy(update={"every_steps": 40, "patience": 1})
    in_place: dict[str, dict[str, Any]] = {
        "half the rates": half_rates,
        "r=4": {
            "lora": config.lora.model_copy(update={"r": 4, "lora_alpha": config.lora.lora_alpha * 4 // config.lora.r})
        },
        "q_proj, v_proj alone": {"lora": config.lora.model_copy(update={"target_modules": ["q_proj", "v_proj"]})},
        "early stop": {"early_stopping": stopping},
    }
    for name, changes in in_place.items():
        changed = scene.config(**without, **changes)
        yield f"no retention, {name}", partial(_ours, scene, changed, steps)
    twice = scene.config(retention=config.retention.model_copy(update={"weight": 2 * config.retention.weight}))
    yield "preference only, retention twice as heavy", lambda: _ours(scene, twice, preference)
    slow = scene.config(**half_rates)
    yield "preference only, half the rate", lambda: _ours(scene, slow, preference)


def _planned(scene: Scene, config: Any) -> Any:
    from training.pool_embeddings import embed_pools
    from training.sampling.plan import plan_run

    sft, preference = scene.prepared.sft.train, scene.prepared.preference.train
    vectors = embed_pools(sft, preference, store=False)
    now = max(record.created_at for record in (*sft, *preference))
    return plan_run(config, sft=sft, preference=preference, embeddings=vectors, now=now).steps


def _ours(scene: Scene, config: Any, steps: Any) -> dict[str, Any]:
    from training.sampling.plan import RunPlan
    from training.trainer.run import RunFolders, TrainingData, train

    plan = scene.prepared.plan
    outcome = train(
        config,
        TrainingData(
            scene.prepared.sft.train, scene.prepared.preference.train, scene.evaluation, scene.prepared.retention
        ),
        RunPlan(steps, plan.sft, plan.preference),
        folders=RunFolders(scene.folder / "work", scene.folder / "models", scene.folder / "references"),
        adapter=None,
        resume=None,
        on_step=lambda _: None,
    )
    return {name: outcome.evaluation[name] for name in ROWS} | {"tokens_per_second": outcome.tokens_per_second}


def _trl(scene: Scene, memory: Any, preference: Any) -> dict[str, Any]:
    from tests.benchmarks.trl_peer import sft_then_dpo
    from training.evaluation.report import comparison, measure
    from training.trainer.base_model import load_base_model
    from training.trainer.batches import preference_examples, sft_examples
    from training.trainer.tokenization import Tokenization

    config = scene.config()
    model, tokenizer = load_base_model(config, cache_dir=scene.folder / "models")
    before = measure(model, tokenizer, scene.evaluation, max_length=config.max_length, when="before")
    tokenization = Tokenization(tokenizer, max_length=config.max_length)
    sft = sft_examples(scene.prepared.sft.train, tokenization)
    pairs = preference_examples(scene.prepared.preference.train, tokenization)
    # TRL cuts its rows into batches of one size, so that these are the same samples, not quite the same batches.
    peer = sft_then_dpo(
        model,
        tokenizer,
        config,
        sft=[sft[index] for step in memory for index in step.batches[0].indices],
        preference=[pairs[index] for step in preference for index in step.batches[0].indices],
        folder=scene.folder / "trl",
        best=True,
    )
    after = measure(peer.model, tokenizer, scene.evaluation, max_length=config.max_length, when="after")
    evaluation = comparison(before, after)
    return {name: evaluation[name] for name in ROWS}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    main()
