"""Train one adapter on both channels."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django_rich.management import RichCommand
from rich.console import Console
from rich.table import Table

from training.config import load_config
from training.plan_summary import summarise
from training.runner import FinishedRun, PreparedRun, execute, prepare

DEFAULT_CONFIG = "config/training/lora_dual.yaml"


class Command(RichCommand):
    """`manage.py train_dual`."""

    help = (
        "Train a LoRA adapter on memory pairs (SFT) and preference pairs (DPO) in one run. Marks the pairs as used, "
        "measures the model before and after, leaves the adapter under ARTIFACTS_DIR."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--config", type=Path, default=Path(DEFAULT_CONFIG), help="YAML config (default: %(default)s)."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Print which pairs would be trained; load no model, change nothing."
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of tables.")

    def handle(self, *, config: Path, dry_run: bool, json: bool, **options: Any) -> None:
        """Run the trainer, or show its plan."""
        # ConfigError, NotEnoughPairs, OutsideRootError and BaseModelError all are ValueErrors about the user's input.
        try:
            prepared = prepare(load_config(config), config_path=config)
            if dry_run:
                self._show_plan(prepared, as_json=json)
                return
            Console(stderr=True).print(f"training on {_pools(prepared)}, {len(prepared.plan.steps)} steps …")
            finished = execute(prepared, base_dir=settings.BASE_DIR, artifacts_dir=settings.ARTIFACTS_DIR)
        except ValueError as error:
            raise CommandError(str(error)) from error
        except (RuntimeError, OSError) as error:
            raise CommandError(f"training failed: {error}", returncode=2) from error
        except KeyboardInterrupt as stop:
            raise CommandError("stopped; no adapter was kept, the pairs are free again", returncode=130) from stop
        self._show_result(finished, as_json=json)

    def _show_plan(self, prepared: PreparedRun, *, as_json: bool) -> None:
        summary = summarise(
            prepared.plan,
            sft=prepared.sft.train,
            preference=prepared.preference.train,
            held_out={"sft": len(prepared.sft.held_out), "preference": len(prepared.preference.held_out)},
        )
        if as_json:
            self.stdout.write(json.dumps(summary))
            return
        table = Table("", "memory (sft)", "preference", title=f"{summary['steps']} steps")
        for key in ("pool", "held_out", "batches", "pairs_drawn", "epochs", "oldest", "newest"):
            table.add_row(key.replace("_", " "), str(summary["sft"][key]), str(summary["preference"][key]))
        self.console.print(table)

    def _show_result(self, finished: FinishedRun, *, as_json: bool) -> None:
        report = finished.as_json()
        if as_json:
            self.stdout.write(json.dumps(report))
            return
        table = Table("", "memory (sft)", "preference", title=f"run {report['run']}: {report['steps']} steps")
        for key in ("batches", "pairs_used", "loss_first", "loss_last"):
            table.add_row(key.replace("_", " "), _number(report["sft"][key]), _number(report["preference"][key]))
        self.console.print(table)
        for key, value in report["evaluation"].items():
            if value is not None:
                self.console.print(f"{key.replace('_', ' ')}: {_number(value)}")
        self.console.print(f"{report['tokens_per_second']:.0f} tokens/s, {report['seconds']:.0f} s in all")
        self.console.print(f"adapter: {report['adapter']}", soft_wrap=True)


def _pools(prepared: PreparedRun) -> str:
    return f"{len(prepared.sft.train)} memory pairs and {len(prepared.preference.train)} preference pairs"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
