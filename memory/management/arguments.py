"""Types of command-line arguments."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime


def iso_time(text: str) -> datetime:
    """Return an ISO 8601 date or time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"got {text!r}, allowed ISO 8601 such as 2026-01-31 or 2026-01-31T08:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
