"""Run a command on a PostgreSQL server of its own: `python -m tests.postgres -- pytest tests/memory`.

The cluster lies in a temporary folder, listens on a socket in there alone, and is gone afterwards. `DATABASE_URL`
tells the command where it is; the exit code is the command's own. PostgreSQL refuses to run as root, so that for
root the server runs as the first of the accounts below that exists.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER_BINARIES = Path("/usr/lib/postgresql/15/bin")
SERVER_PACKAGE = "postgresql-15"
UNPRIVILEGED_ACCOUNTS = ("postgres", "nobody")
# Durability is not what a test measures.
CLUSTER_OPTIONS = ("--username=dual", "--auth=trust", "--encoding=UTF8", "--no-sync")
SERVER_OPTIONS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServerMissingError(Exception):
    """The server's programs are not installed, and cannot be."""


def main(arguments: Sequence[str]) -> int:
    """Run the command that follows `--` and return its exit code; 2 if there is no command or no server."""
    if len(arguments) < 2 or arguments[0] != "--":
        print("usage: python -m tests.postgres -- COMMAND [ARGUMENT…]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with running_server() as database_url:
            return subprocess.run(arguments[1:], env={**os.environ, "DATABASE_URL": database_url}).returncode
    except ServerMissingError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


@contextmanager
def running_server() -> Iterator[str]:
    """Yield the address of a new, empty server that stops at the end.

    Raises:
        ServerMissingError: if PostgreSQL 15 is not installed and apt cannot install it.

    """
    install_server()
    account = server_account()
    # A socket's path has at most 107 bytes, so that a long TMPDIR would not do.
    with tempfile.TemporaryDirectory(prefix="dual-channel-postgres-", dir="/tmp") as folder:
        if account is not None:
            shutil.chown(folder, account)
        as_account: list[str | Path] = [] if account is None else ["runuser", "-u", account, "--"]
        data = f"{folder}/data"
        run_quietly([*as_account, SERVER_BINARIES / "initdb", f"--pgdata={data}", *CLUSTER_OPTIONS])
        options = " ".join(f"-c {option}" for option in (*SERVER_OPTIONS, f"unix_socket_directories={folder}"))
        pg_ctl = [*as_account, SERVER_BINARIES / "pg_ctl", "-D", data]
        run_quietly([*pg_ctl, "-w", "-l", f"{folder}/log", "-o", options, "start"])
        try:
            yield f"postgres://dual@/{folder}/postgres"
        finally:
            run_quietly([*pg_ctl, "-w", "-m", "immediate", "stop"])


def install_server() -> None:
    """Install PostgreSQL 15 if it is missing.

    Raises:
        ServerMissingError: if this user may not, or apt does not know the package.

    """
    if (SERVER_BINARIES / "postgres").exists():
        return
    missing = f"PostgreSQL 15 is not installed: got no {SERVER_BINARIES / 'postgres'}"
    if os.geteuid() != 0:
        raise ServerMissingError(f"{missing}; install it as root with `apt-get install {SERVER_PACKAGE}`")
    try:
        run_quietly(["apt-get", "update"])
        run_quietly(["apt-get", "install", "--yes", "--no-install-recommends", SERVER_PACKAGE])
    except (subprocess.CalledProcessError, OSError) as error:
        raise ServerMissingError(f"{missing}, and `apt-get install {SERVER_PACKAGE}` failed: {error}") from error


def server_account() -> str | None:
    """Return the account that the server has to run as; None for the present one, which is not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for account in UNPRIVILEGED_ACCOUNTS:
        if account in known:
            return account
    raise ServerMissingError(
        f"PostgreSQL refuses to run as root: got none of the accounts {', '.join(UNPRIVILEGED_ACCOUNTS)}"
    )


def run_quietly(command: Sequence[str | Path]) -> None:
    """Run one step of the set-up; its words are shown only if it fails."""
    # The server inherits the output of `pg_ctl start`, so that a pipe would stay open: hence a file.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        except subprocess.CalledProcessError:
            output.seek(0)
            sys.stderr.buffer.write(output.read())
            raise


if __name__ == "__main__":
    # Being terminated, too, has to stop the server.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main(sys.argv[1:]))
