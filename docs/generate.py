"""Write the pages that follow from the code: `commands.md` from `--help`, `configuration.md` from the classes.

`python -m docs.generate` writes them; with `--check` it exits 1 where a page no longer agrees with the code.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import django
from annotated_types import Ge, Gt, Le, Lt
from django.core.management import get_commands, load_command_class
from pydantic import BaseModel
from pydantic.fields import FieldInfo

DOCS = Path(__file__).resolve().parent
OWN_APPS = ("memory", "training", "maintenance", "dualchannel_site.desk")
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
    from maintenance.config import NightlyConfig
    from training.config import TrainingConfig

    parts = [
        "# Configuration\n",
        "Generated from the classes in `training/config/` and `maintenance/config.py`; `make docs` writes it anew. "
        "Unknown keys are refused, and all problems of a file are reported at once. `--set key=value` puts another "
        "value over that of the file; keys in sections are dotted, as here.\n",
        "# A training run\n",
        *_section("", TrainingConfig),
        "# A night\n",
        *_section("", NightlyConfig),
    ]
    return "\n".join(parts)


def _section(prefix: str, model: type[BaseModel], *, may_be_null: bool = False) -> list[str]:
    from training.config.sections import section_of

    rows, nested = [], []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = section_of(field.annotation)
        if inner is not None:
            nested += _section(f"{key}.", inner, may_be_null=inner is not field.annotation)
        else:
            kind = _type(field.annotation, field.metadata)
            rows.append(f"| `{key}` | {kind} | {_default(field)} | {field.description} |")
    about = " ".join((model.__doc__ or "").split())
    lines = [f"## {prefix.rstrip('.') or 'The whole'}\n", f"{about}{' By default it is null.' * may_be_null}\n"]
    if rows:
        lines += ["| key | type | default | effect |", "|---|---|---|---|", *rows, ""]
    return lines + nested


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return a key's type as one reads it, such as "whole number (1 or more)"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return " or ".join(_type(each, metadata) for each in arguments)
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", datetime: "time"}
    return "`null`" if annotation is NoneType else f"{names[annotation]}{_range(metadata)}"


def _range(metadata: Sequence[Any]) -> str:
    # A type within a union keeps its range in a FieldInfo of its own.
    limits = [limit for each in metadata for limit in (each.metadata if isinstance(each, FieldInfo) else [each])]
    low = next((f"{each.ge}" for each in limits if isinstance(each, Ge)), None)
    above = next((f"above {each.gt}" for each in limits if isinstance(each, Gt)), None)
    high = next((f"{each.le}" for each in limits if isinstance(each, Le)), None)
    below = next((f"below {each.lt}" for each in limits if isinstance(each, Lt)), None)
    start, end = low or above, high or below
    if end is not None:
        return f" ({start} to {end})"
    return f" ({f'{low} or more' if low else start})" if start else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none, must be given"
    value = field.get_default(call_default_factory=True)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


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
