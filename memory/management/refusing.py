"""Commands whose options are input like any other: what cannot be used ends with exit code 1."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class RefusingCommand(BaseCommand):
    """A command that also ends with 1 where its options cannot be parsed."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, without argparse's own code 2: here it says that the work has failed."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        leave = parser.exit
        parser.exit = lambda status=0, message=None: leave(min(status, 1), message)  # type: ignore[method-assign]
        return parser
