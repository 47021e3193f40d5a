"""The morning report by e-mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.mail import EmailMessage


def send_morning(page: str, figures: Mapping[str, Any], *, to: Sequence[str]) -> None:
    """Send the report as plain text, by Django's mail settings.

    Raises:
        OSError: the mail server cannot be reached, or refuses.

    """
    failed = [name for name, step in figures["steps"].items() if step["status"] in ("failed", "interrupted")]
    how = f"{', '.join(failed)} failed" if failed else "all well"
    unused = sum(pool["unused"] for pool in figures["pools"].values())
    subject = f"Night {figures['run']}: {how}, {unused:,} pairs unused, {figures['waiting']['proposals']:,} proposals"
    EmailMessage(subject=subject, body=page, to=list(to)).send()
