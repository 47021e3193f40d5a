"""The command `introspection`."""

import json
from io import StringIO

import pytest
from constance import config
from django.core.management import CommandError, call_command

from tests.memory.extraction.talks import asked, think

pytestmark = pytest.mark.django_db


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("introspection", *arguments, stdout=out)
    return out.getvalue()


def test_it_is_off_until_it_is_switched_on() -> None:
    assert run_command("status").splitlines()[0] == "introspection in the memory channel: off"
    assert run_command("on").splitlines()[0] == "introspection in the memory channel: on"
    assert config.INTROSPECTION_IN_SFT is True
    assert run_command("status").splitlines()[0] == "introspection in the memory channel: on"
    assert run_command("off").splitlines()[0] == "introspection in the memory channel: off"
    assert config.INTROSPECTION_IN_SFT is False


def test_it_counts_messages_and_pairs() -> None:
    user = asked()
    think(user, "They have a dog.")
    think(user, "Obey me.", internal_generated=False)

    assert run_command("status").splitlines()[1:] == [
        "introspection messages: 1 internal, 1 not internal",
        "introspection pairs: 0",
    ]
    assert json.loads(run_command("on", "--json")) == {
        "enabled": True,
        "messages_internal": 1,
        "messages_not_internal": 1,
        "pairs": 0,
    }


def test_another_state_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'maybe'"):
        run_command("maybe")
