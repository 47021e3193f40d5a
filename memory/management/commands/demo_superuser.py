"""Let somebody look around: a superuser with a password that is printed once."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from memory.demo.superuser import USERNAME, reset_demo_superuser
from memory.management.refusing import RefusingCommand


class Command(RefusingCommand):
    """Create or reset the demo superuser."""

    help = (
        "Creates the superuser 'demo', or gives it a new random password, and prints the password. "
        "Only while DEBUG is on."
    )

    def handle(self, **options: Any) -> None:
        """Print name and password."""
        if not settings.DEBUG:
            raise CommandError("DEBUG is off, and the demo superuser is for DEBUG alone: use createsuperuser.")
        self.stdout.write(f"user {USERNAME}, password {reset_demo_superuser()}")
