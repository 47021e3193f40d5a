#!/usr/bin/env python
"""Django's command-line utility for Dual Channel."""

import os
import sys


def main() -> None:
    """Run the management command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A setting that is missing is the reader's to set, not a fault to be traced.
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
