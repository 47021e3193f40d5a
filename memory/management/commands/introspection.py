"""Command: the live switch that lets introspection into the memory channel."""

import json
from argparse import ArgumentParser
from typing import Any

from memory.management.refusing import RefusingCommand
from memory.stats import introspection_stats
from memory.switches import turn


class Command(RefusingCommand):
    """Switch introspection in the memory channel on or off."""

    help = (
        "Let internally generated introspection into the memory channel (on), keep it out (off), or show what holds "
        "(status). The switch counts for later extractions; pairs that are stored stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("state", choices=["on", "off", "status"], help="What to do.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the summary.")

    def handle(self, *, state: str, **options: Any) -> None:
        """Switch, and print what holds now."""
        if state != "status":
            turn("INTROSPECTION_IN_SFT", on=state == "on")
        stats = introspection_stats()
        if options["json"]:
            self.stdout.write(json.dumps(stats.as_dict()))
            return
        self.stdout.write(
            f"introspection in the memory channel: {'on' if stats.enabled else 'off'}\n"
            f"introspection messages: {stats.messages_internal} internal, {stats.messages_not_internal} not internal\n"
            f"introspection pairs: {stats.pairs}"
        )
