"""A PostgreSQL server for one command: there while it runs, gone afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import postgres
from tests.missing import skip_without

CONNECT = (
    "import environ, psycopg, sys; place = environ.Env().db('DATABASE_URL'); "
    "with_server = psycopg.connect(host=place['HOST'], user=place['USER'], dbname=place['NAME']); "
    "print(place['HOST'], with_server.info.server_version // 10_000); sys.exit(7)"
)


@pytest.mark.slow
def test_the_command_finds_its_server_and_its_exit_code_is_passed_on() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.postgres", "--", sys.executable, "-c", CONNECT], capture_output=True, text=True
    )
    assert done.returncode == 7, done.stderr
    folder, version = done.stdout.split()
    assert version == "15"
    assert not Path(folder).exists()


def test_without_a_command_the_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert postgres.main(["pytest"]) == 2
    assert capsys.readouterr().err == "usage: python -m tests.postgres -- COMMAND [ARGUMENT…]\n"


def test_a_server_that_is_missing_and_cannot_be_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgres, "SERVER_BINARIES", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert postgres.main(["--", "true"]) == 2
    assert capsys.readouterr().err == (
        f"PostgreSQL 15 is not installed: got no {tmp_path / 'postgres'}; "
        "install it as root with `apt-get install postgresql-15`\n"
    )


def test_a_test_without_its_server_is_skipped_and_fails_where_nothing_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = postgres.ServerMissingError("PostgreSQL 15 is not installed")

    monkeypatch.delenv("SKIP_NOTHING", raising=False)
    with pytest.raises(pytest.skip.Exception, match="PostgreSQL 15 is not installed"):
        skip_without(missing)
    monkeypatch.setenv("SKIP_NOTHING", "1")
    with pytest.raises(pytest.fail.Exception, match="PostgreSQL 15 is not installed"):
        skip_without(missing)
