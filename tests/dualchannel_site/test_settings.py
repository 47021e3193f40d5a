"""The settings read the environment, refuse what is unsafe, load quickly."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["torch", "transformers", "trl", "peft", "sklearn", "sentence_transformers", "datasets"]
# What `docs/operations.md` asks of a production server; DEBUG stays unset there, and a .env file here may say more.
PRODUCTION = {
    "DEBUG": "",
    "SECRET_KEY": "production-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFG",
    "ALLOWED_HOSTS": "example.org",
}


def run(*arguments: str, environment: Mapping[str, str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder` with nothing but `environment` in its environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_deployment_check_is_clean_with_the_production_variables() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", environment=PRODUCTION)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "System check identified no issues (0 silenced).\n",
        "",
    )


def test_the_deployment_check_is_not_clean_without_them() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", environment={**PRODUCTION, "DEBUG": "true"})
    assert done.returncode == 1
    assert "security.W018" in done.stderr


def test_without_a_secret_key_there_is_one_line_that_says_what_to_do() -> None:
    done = run("manage.py", "check", environment={**PRODUCTION, "SECRET_KEY": ""})
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "SECRET_KEY is not set. Run `make setup`, which writes one into .env, or set it in the environment.\n",
    )


def test_the_real_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dualchannel_site", tmp_path / "dualchannel_site")
    (tmp_path / ".env").write_text("DEBUG=true\nTIME_ZONE=Europe/Berlin\nLOG_LEVEL=DEBUG\n")
    show = (
        "from dualchannel_site import settings as s; import json; "
        "print(json.dumps([s.DEBUG, s.TIME_ZONE, s.LOGGING['root']['level']]))"
    )
    from_file = run("-c", show, folder=tmp_path, environment={})
    assert json.loads(from_file.stdout) == [True, "Europe/Berlin", "DEBUG"], from_file.stderr
    from_environment = run("-c", show, folder=tmp_path, environment={"TIME_ZONE": "Asia/Tokyo"})
    assert json.loads(from_environment.stdout) == [True, "Asia/Tokyo", "DEBUG"], from_environment.stderr


def test_the_site_starts_without_the_heavy_libraries() -> None:
    start = (
        "import django, json, sys; django.setup(); from django.contrib import admin; admin.autodiscover(); "
        "from django.urls import get_resolver; get_resolver().url_patterns; print(json.dumps(sorted(sys.modules)))"
    )
    done = run("-c", start, environment={**PRODUCTION, "DJANGO_SETTINGS_MODULE": "dualchannel_site.settings"})
    loaded = set(json.loads(done.stdout))
    assert {"memory.admin.pairs", "training.admin"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_new_sqlite_database_gives_pages_back_in_slices_and_later_connections_need_no_lock_for_it(
    tmp_path: Path,
) -> None:
    """The setting writes to a database that has it: each connection would wait for whoever is writing."""
    code = (
        "import django; django.setup(); from django.db import connection; "
        "from django.core.management import call_command; "
        "call_command('migrate', 'contenttypes', verbosity=0); "
        "print(connection.cursor().execute('PRAGMA auto_vacuum').fetchone()[0], "
        "'auto_vacuum' in connection.settings_dict['OPTIONS']['init_command'])"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3",
    }
    first, second = (run("-c", code, environment=environment) for _ in range(2))
    assert (first.stdout, first.stderr) == ("2 True\n", "")
    assert (second.stdout, second.stderr) == ("2 False\n", "")
