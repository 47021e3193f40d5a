"""One trainer at a time in a folder, and none that is dead."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training.lock import LOCK_FILE, LockedError, folder_lock, is_locked

HOLDER = (
    "import sys, time; from pathlib import Path; from training.lock import folder_lock\n"
    "with folder_lock(Path(sys.argv[1])) as lock:\n"
    "    lock.name_run(7); print('held', flush=True); time.sleep(60)"
)


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(root)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def test_a_second_trainer_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with holder(tmp_path) as child, pytest.raises(LockedError) as caught, folder_lock(tmp_path):
        pass
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: process {child.pid} on {socket.gethostname()} (since 20")
    assert message.endswith(", run 7) trains here; allowed is one trainer a folder")


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as child:
        assert is_locked(tmp_path)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not is_locked(tmp_path)
        with folder_lock(tmp_path):
            pass


def test_two_folders_are_two_locks(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "one"), folder_lock(tmp_path / "other"):
        pass


def test_a_lock_is_free_when_its_holder_has_ended(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        pass
    with folder_lock(tmp_path):
        pass


def test_the_holder_before_is_not_read_as_the_one_now(tmp_path: Path) -> None:
    with folder_lock(tmp_path) as lock:
        lock.name_run(123_456)
    with folder_lock(tmp_path):
        assert "run" not in (tmp_path / LOCK_FILE).read_text()


def test_a_holder_that_has_not_written_yet_is_another_process(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(LockedError, match="another process trains here"), folder_lock(tmp_path):
            pass
