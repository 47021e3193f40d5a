"""Forms of the desk, saved as a browser does."""

from typing import Any

from django.test import Client


def send_form(client: Client, address: str, typed: dict[str, Any]) -> Any:
    """Open the page, and send what was typed with the mark that the page came with."""
    seen = client.get(address).context["adminform"].form.initial["seen"]
    return client.post(address, {**typed, "seen": seen})
