"""Command: the groups of the desk's roles."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from dualchannel_site.desk.roles import RoleChange, set_up_roles
from memory.management.refusing import RefusingCommand


class Command(RefusingCommand):
    """Make the groups viewer, curator and operator."""

    help = (
        "Make the groups viewer, curator and operator, or set their permissions back to what the roles say; safe to "
        "repeat. Whoever is in a group stays in it. Run it after each `migrate`: new models bring new permissions."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object instead of the summary.")

    def handle(self, **options: Any) -> None:
        """Set the groups up, and print what changed."""
        try:
            changes = set_up_roles()
        except LookupError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"roles": [change.as_dict() for change in changes]}))
        elif options["verbosity"] > 0:
            self.stdout.write("\n".join(_summary(change) for change in changes))


def _summary(change: RoleChange) -> str:
    state = f"{change.role}: {change.permissions} permissions"
    if change.created:
        return f"{state}, new"
    if not change.added and not change.removed:
        return f"{state}, as before"
    return f"{state}, {len(change.added)} added, {len(change.removed)} taken away"
