"""Train one adapter on both channels."""

import json as json_text
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django_rich.management import RichCommand
from rich.console import Console

from memory.management.refusing import RefusingCommand
from training.config import load_config
from training.dry_run import planned_run
from training.management.failures import training_errors
from training.preparation import Places
from training.run_results import run_report
from training.run_tables import plan_tables, result_tables
from training.runner import follow, resume, start

DEFAULT_CONFIG = "config/training/lora_dual.yaml"


class Command(RefusingCommand, RichCommand):
    """`manage.py train_dual`."""

    help = (
        "Train a LoRA adapter on memory pairs (SFT) and preference pairs (DPO) in one run. Marks the pairs as used, "
        "measures the model before and after, leaves the adapter under ARTIFACTS_DIR. Exit codes: 0 trained; 1 the "
        "input cannot be used; 2 training failed; 4 another process trains in the folder; 130 stopped, to be resumed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--config", metavar="PATH", type=Path, default=Path(DEFAULT_CONFIG), help="YAML config (%(default)s)."
        )
        parser.add_argument(
            "--set",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            dest="overrides",
            help="Put a value over the config's, such as beta=0.2; may be given several times.",
        )
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument(
            "--dry-run",
            action="store_true",
            help="Print which pairs would be trained, what it would take; load no language model, change nothing.",
        )
        mode.add_argument(
            "--resume",
            action="store_true",
            help="Continue the run of the config's output_dir that was stopped or killed, with the texts, the config "
            "and the plan it began with.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of tables.")

    def handle(self, *, config: Path, overrides: list[str], json: bool, **options: Any) -> None:
        """Run the trainer, or show its plan."""
        with training_errors(resume=f"manage.py train_dual --config {config} --resume"):
            loaded = load_config(config, overrides)
            if options["dry_run"]:
                report = planned_run(loaded, config_path=config, places=_places())
            else:
                # Torch takes seconds to import; a dry run does without.
                from training.trainer.processes import check_launch, is_main_process

                check_launch()
                if not is_main_process():
                    follow()
                    return
                go = resume if options["resume"] else start
                report = run_report(go(loaded, config_path=config, places=_places(), say=_say))
        if json:
            self.stdout.write(json_text.dumps(report))
            return
        for part in plan_tables(report) if options["dry_run"] else result_tables(report):
            self.console.print(part, soft_wrap=isinstance(part, str))


def _places() -> Places:
    return Places(project=settings.BASE_DIR, artifacts=settings.ARTIFACTS_DIR)


def _say(line: str) -> None:
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
