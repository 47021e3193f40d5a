"""What argparse refuses ends a command as any other input does that cannot be used."""

import pytest
from django.core.management import get_commands, load_command_class

OWN = ("memory", "training", "maintenance")
COMMANDS = {name: app for name, app in get_commands().items() if app in OWN or name == "setup_roles"}


def exit_code(*arguments: str) -> object:
    name = arguments[0]
    with pytest.raises(SystemExit) as end:
        load_command_class(COMMANDS[name], name).run_from_argv(["manage.py", *arguments])
    return end.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_there_is_not_is_unusable_input(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(name, "--nonsense") == 1
    assert f"manage.py {name}: error: " in capsys.readouterr().err


def test_a_value_that_cannot_be_read_is_unusable_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("extract_sft_pairs", "--since", "yesterday") == 1
    line = "error: argument --since: got 'yesterday', allowed ISO 8601 such as 2026-01-31 or 2026-01-31T08:00Z"
    assert line in capsys.readouterr().err


def test_help_is_no_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("train_dual", "--help") == 0
    assert capsys.readouterr().out.startswith("usage: manage.py train_dual")
