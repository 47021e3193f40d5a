"""Measure any adapter on what training never sees."""

import json as json_text
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django_rich.management import RichCommand
from rich.markup import escape
from rich.table import Table

from memory.management.refusing import RefusingCommand
from training.config import TrainingConfig, load_config
from training.evaluation.evaluation_set import EvaluationSet, load_evaluation_set
from training.selection import select_preference, select_sft

_FORMS = {
    "recall": "{:.0%}",
    "recall_person_only": "{:.0%}",
    "preference_accuracy": "{:.0%}",
    "drift_ratio": "{:+.1%}",
    "drift_mean_ratio": "{:+.1%}",
}


class Command(RefusingCommand, RichCommand):
    """`manage.py evaluate_adapter`."""

    help = (
        "Measure a LoRA adapter against its base model, and against another adapter: recall probes, held-out pairs of "
        "both channels, general text. Changes nothing. --json prints one object: base_model, adapter, against (null "
        "without it); probes, held_out_sft, held_out_preference, general_texts (how many of each were measured on); "
        "figures, with base, adapter, against (null without it), each of which has recall, recall_person_only, "
        "preference_accuracy (0 to 1), preference_margin (nats per token), sft_loss, sft_loss_median, general_loss, "
        "general_loss_median (nats), drift_ratio, drift_mean_ratio (change from the base; 0.1 is 10 % worse). What was "
        "not measured is null."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("path", metavar="PATH", type=Path, help="Folder of a PEFT adapter, such as a run's.")
        parser.add_argument(
            "--against", metavar="PATH", type=Path, help="Folder of another adapter for the same base model."
        )
        parser.add_argument(
            "--config",
            metavar="PATH",
            type=Path,
            help="YAML config that names the base model and what to measure on (default: the adapter's config.yaml).",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the table.")

    def handle(self, *, path: Path, against: Path | None, config: Path | None, json: bool, **options: Any) -> None:
        """Measure, and print."""
        # Torch and its friends take seconds to import; `--help` does without.
        from training.evaluation.adapters import evaluate_adapters

        # ConfigError, AdapterError and BaseModelError all are ValueErrors about the user's input.
        try:
            loaded = load_config(_config_path(path, config))
            folders = [path] if against is None else [path, against]
            evaluation = evaluate_adapters(loaded, _evaluation_set(loaded), folders, cache_dir=_models())
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt as stop:
            raise CommandError("stopped; nothing was changed", returncode=130) from stop
        base, adapter, *other = evaluation.figures()
        report = {
            "base_model": loaded.model_name_or_path,
            "adapter": str(path),
            "against": None if against is None else str(against),
            **_sizes(evaluation.measured_on),
            "figures": {"base": base, "adapter": adapter, "against": other[0] if other else None},
        }
        if json:
            self.stdout.write(json_text.dumps(report))
        else:
            self._show(report)

    def _show(self, report: dict[str, Any]) -> None:
        found = {name: values for name, values in report["figures"].items() if values is not None}
        table = Table("", *found, title=escape(f"{report['adapter']} on {report['base_model']}"))
        measured = [name for name in found["base"] if any(values[name] is not None for values in found.values())]
        for name in measured:
            table.add_row(name.replace("_", " "), *(_shown(name, values[name]) for values in found.values()))
        self.console.print(table)
        self.console.print(
            "measured on {probes} probes, {held_out_sft} held-out memory pairs, {held_out_preference} held-out "
            "preference pairs, {general_texts} general texts".format(**report)
        )
        missing = [name.replace("_", " ") for name in found["base"] if name not in measured]
        if missing:
            self.console.print(f"not measured: {', '.join(missing)}")


def _config_path(path: Path, given: Path | None) -> Path:
    if given is not None:
        return given
    if not path.is_dir():
        raise CommandError(f"{path} is no folder")
    own = path / "config.yaml"
    if not own.is_file():
        raise CommandError(f"{path} has no config.yaml; name its run's config with --config")
    return own


def _evaluation_set(config: TrainingConfig) -> EvaluationSet:
    from training.trainer.base_model import load_tokenizer
    from training.trainer.renderable import renderable_evaluation

    # Measuring does not ask whether there is enough to train.
    lenient = config.model_copy(update={"min_sft_pairs": 0, "min_preference_pairs": 0})
    held_out = EvaluationSet(sft=select_sft(lenient).held_out, preference=select_preference(lenient).held_out)
    # As in a run, what the chat template refuses takes no place among the most that are measured.
    held_out = renderable_evaluation(held_out, load_tokenizer(config, cache_dir=_models()))
    return load_evaluation_set(config, base_dir=settings.BASE_DIR, sft=held_out.sft, preference=held_out.preference)


def _models() -> Path:
    return Path(settings.ARTIFACTS_DIR) / "models"


def _sizes(given: EvaluationSet) -> dict[str, int]:
    return {
        "probes": len(given.probes),
        "held_out_sft": len(given.sft),
        "held_out_preference": len(given.preference),
        "general_texts": len(given.general_text),
    }


def _shown(name: str, value: float | None) -> str:
    return "-" if value is None else _FORMS.get(name, "{:.3f}").format(value)
