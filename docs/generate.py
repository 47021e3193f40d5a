"""Write the pages that follow from the code: `commands.md` from `--help`, `configuration.md` from the classes.

`python -m docs.generate` writes them; with `--check` it exits 1 where a page no longer agrees with the code.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import django
from django.core.management import get_commands, load_command_class
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parent
OWN_APPS = ("memory", "training", "maintenance")
# What Django adds to every command is not ours to document.
DJANGO_OPTIONS = (
    *("--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color"),
    "--skip-checks",
)


def commands_page() -> str:
    """Return the page of all management commands of the project, from their own `--help`."""
    parts = ["# Commands\n", "Generated from `--help`; `make docs` writes it anew.\n"]
    own = sorted(name for name, app in get_commands().items() if app in OWN_APPS)
    for name in own:
        command = load_command_class(get_commands()[name], name)
        parser = command.create_parser("manage.py", name)
        kept = [action for action in parser._actions if not set(action.option_strings) & {*DJANGO_OPTIONS, "-h"}]
        parts.append(f"## `manage.py {name}`\n")
        parts.append(f"{command.help}\n")
        if kept:
            parts += ["| argument | effect |", "|---|---|"]
            parts += [f"| {_signature(action)} | {_effect(action, parser)} |" for action in kept]
            parts.append("")
    return "\n".join(parts)


def configuration_page() -> str:
    """Return the page of every config key with its type, default and effect."""
    from training.config import TrainingConfig

    parts = [
        "# Configuration of a training run\n",
        "Generated from the classes in `training/config/schema.py`; `make docs` writes it anew. Unknown keys are "
        "refused, and all problems of a file are reported at once.\n",
        *_section("", TrainingConfig),
    ]
    return "\n".join(parts)


def _section(prefix: str, model: type[BaseModel]) -> list[str]:
    rows, nested = [], []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested.append((key, field.annotation))
            continue
        rows.append(f"| `{key}` | {_type(field.annotation)} | {_default(field.default)} | {field.description} |")
    lines = [f"## {prefix.rstrip('.') or 'The whole'}\n", f"{_first_paragraph(model)}\n"]
    if rows:
        lines += ["| key | type | default | effect |", "|---|---|---|---|", *rows, ""]
    for key, inner in nested:
        lines += _section(f"{key}.", inner)
    return lines


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = (
        text.replace("typing.", "").replace("datetime.datetime", "datetime").replace("tuple[str, ...]", "list of str")
    )
    return f"`{text}`".replace("|", "\\|")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "none, must be given"
    return f"`{'null' if value is None else value}`"


def _signature(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or (action.metavar or action.dest)
    if action.option_strings and action.nargs != 0:
        name = f"{name} {action.metavar or action.dest.upper()}"
    return f"`{name}`".replace("|", "\\|")


def _effect(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    choices = f" One of {', '.join(f'`{choice}`' for choice in action.choices)}." if action.choices else ""
    return f"{text}{choices}".replace("|", "\\|").replace("\n", " ")


def main() -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 where a page is out of date")
    check = parser.parse_args().check
    django.setup()
    stale = []
    for name, content in {"commands.md": commands_page(), "configuration.md": configuration_page()}.items():
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        stale.append(name)
        if not check:
            path.write_text(content, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dualchannel_site.settings")
    sys.exit(main())
