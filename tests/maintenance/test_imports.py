"""The night is imported by the admin and by every command, and must not make them wait."""

import subprocess
import sys

CODE = """
import pkgutil, sys
from importlib import import_module
import django

django.setup()
import maintenance

names = [found.name for found in pkgutil.walk_packages(maintenance.__path__, "maintenance.")]
for name in names:
    import_module(name)
print(len(names), *sorted({"torch", "sklearn", "scipy", "transformers", "sentence_transformers"} & set(sys.modules)))
"""


def test_no_module_of_the_night_imports_the_heavy_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    count, *heavy = done.stdout.split()
    assert int(count) > 40
    assert heavy == []
