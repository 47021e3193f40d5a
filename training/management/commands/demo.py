"""Show the whole product on the shipped example."""

import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django_rich.management import RichCommand
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from memory.management.refusing import RefusingCommand
from training.demo import CONFIG, Demonstration, run_demo
from training.management.failures import training_errors
from training.preparation import Places

CONVERSATIONS = "memory/demo/conversations.jsonl"
# Answers side by side in the closing table; the run's evaluation counts them all.
SHOWN_ANSWERS = 8


class Command(RefusingCommand, RichCommand):
    """`manage.py demo`."""

    help = (
        "Import the demo conversations, extract pairs, train both channels with SmolLM2-135M, print what the model "
        "remembers before and after. About ten minutes on two cores; safe to repeat."
    )

    def handle(self, **options: Any) -> None:
        """Run import, extraction, training; print the result."""
        started = time.monotonic()
        console = self.console
        console.print(f"$ manage.py import_conversations {CONVERSATIONS}", style="bold")
        call_command("import_conversations", settings.BASE_DIR / CONVERSATIONS, stdout=self.stdout)
        console.print("$ manage.py extract_sft_pairs --all", style="bold")
        call_command("extract_sft_pairs", "--all", stdout=self.stdout)
        console.print("$ manage.py train_dual --config config/training/lora_demo.yaml", style="bold")
        places = Places(project=settings.BASE_DIR, artifacts=settings.ARTIFACTS_DIR)
        with training_errors(resume=f"manage.py train_dual --config {CONFIG} --resume"):
            shown = run_demo(places=places, started=started, say=console.print)
        _print_result(console, shown)


def _print_result(console: Console, shown: Demonstration) -> None:
    console.print(_answers_table(shown))
    table = Table("", "before", "after", title="measured on what training never saw")
    summary = shown.summary
    table.add_row("recall of what the assistant has said", *_percent(summary, "recall"))
    table.add_row("recall of what only the person has said", *_percent(summary, "recall_person_only"))
    table.add_row("preference accuracy, held-out pairs", *_percent(summary, "preference_accuracy"))
    console.print(table)
    console.print(
        "drift on general text: median token loss "
        f"{summary['drift_ratio']:+.1%}, mean {summary['drift_mean_ratio']:+.1%}"
    )
    console.print(f"adapter: {summary['adapter']}", soft_wrap=True)
    console.print(f"summary: {shown.summary_path} ({summary['seconds']:.0f} s in all)", soft_wrap=True)


def _answers_table(shown: Demonstration) -> Table:
    table = Table("question", "before", "after", title="a few answers", show_lines=True)
    # One question a fact, so that the few that are shown differ.
    by_fact = {side.fact: side for side in reversed(shown.answers)}
    for side in list(by_fact.values())[::-1][:SHOWN_ANSWERS]:
        table.add_row(side.question, escape(side.before), f"{'✓' if side.right_after else '✗'} {escape(side.after)}")
    return table


def _percent(summary: dict[str, Any], name: str) -> tuple[str, str]:
    values = (summary[f"{name}_before"], summary[f"{name}_after"])
    before, after = ("-" if value is None else f"{value:.0%}" for value in values)
    return before, after
