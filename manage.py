#!/usr/bin/env python
"""Django's command-line utility for Dual Channel."""

import os
import sys


def main() -> None:
    """Run the management command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError, ProgrammingError
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        sys.exit(f"Django is not installed for {sys.executable}; run `make setup`, then use .venv/bin/python")

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A setting that is missing is the reader's to set, not a fault to be traced.
        sys.exit(f"{error}")
    except (OperationalError, ProgrammingError) as error:
        if "no such table" not in str(error) and "does not exist" not in str(error):
            raise
        sys.exit(f"the database lacks a table ({str(error).splitlines()[0]}); run `manage.py migrate`")


if __name__ == "__main__":
    main()
