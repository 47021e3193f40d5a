"""An archive file that is not what it should be is refused in one line, and nothing of it is restored."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maintenance.archive.files import ArchiveError, check_archive, manifest_path
from maintenance.archive.restoring import known_files
from tests.maintenance.archive import stock

pytestmark = pytest.mark.django_db


def rewrite(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a file and make its manifest fit."""
    lines = change(gzip.decompress(path.read_bytes()).decode().splitlines())
    rewrite_with(path, gzip.compress("".join(f"{line}\n" for line in lines).encode()))


def rewrite_with(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    amend(path, sha256=hashlib.sha256(content).hexdigest())


def amend(path: Path, **changes: Any) -> None:
    manifest = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps({**manifest, **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def cut_and_sign(path: Path) -> None:
    rewrite_with(path, path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "{path}: no such file"),
    "cut": (cut, "{path}: damaged: got the checksum "),
    "flipped": (flip, "{path}: damaged: got the checksum "),
    "cut and signed": (cut_and_sign, "{path}: damaged after line "),
    "no gzip": (
        lambda path: rewrite_with(path, b"Dear diary"),
        "{path}: damaged after line 0: Not a gzipped file",
    ),
    "no JSON": (
        lambda path: rewrite(path, lambda lines: [lines[0], "Dear diary", *lines[2:]]),
        "{path}: line 2: Expecting value",
    ),
    "another column": (
        lambda path: rewrite(path, lambda lines: [lines[0].replace('"pair":{', '"pair":{"mood":1,'), *lines[1:]]),
        "{path}: line 1: memory.sftpair: got a column mood, allowed are id, ",
    ),
    "a line less": (
        lambda path: rewrite(path, lambda lines: lines[1:]),
        "{path}: damaged: got {{'sft': 2, 'preference': 2}} pairs, allowed {{'sft': 3, 'preference': 2}}",
    ),
    "no manifest": (lambda path: manifest_path(path).unlink(), "{path}: its manifest {manifest.name} is missing"),
    "manifest no JSON": (lambda path: manifest_path(path).write_text("{"), "{manifest}: Invalid JSON"),
    "manifest without a key": (lambda path: manifest_path(path).write_text("{}"), "{manifest}: format: Field required"),
    "format": (lambda path: amend(path, format=2), "{manifest}: format: got 2, allowed 1"),
    "migrations": (
        lambda path: amend(path, migrations={"memory": "0099_moods"}, version="9.9"),
        "{path}: written under migration memory.0099_moods, which this database does not have; allowed are files of "
        "this version or an earlier one (that was version 9.9)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_what_is_wrong(damage: str, tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    (path,) = stock.files(tmp_path)
    spoil, message = DAMAGES[damage]
    spoil(path)
    with pytest.raises(ArchiveError) as refused:
        known_files([path], pairs=(), artifacts=tmp_path, using="default")
    assert str(refused.value).startswith(message.format(path=path, manifest=manifest_path(path)))
    assert "\n" not in str(refused.value)


def test_a_file_under_an_earlier_migration_is_taken(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    (path,) = stock.files(tmp_path)
    amend(path, migrations={"memory": "0001_initial"})
    assert check_archive(path, artifacts=tmp_path, using="default").sft_pairs == 3


def outside(folder: Path, path: Path) -> list[Path]:
    """Return ways out of the archive's folder that lead to a file which would be one."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for each in (path, manifest_path(path)):
        (elsewhere / each.name).write_bytes(each.read_bytes())
    link = folder / "archive" / "link.jsonl.gz"
    link.symlink_to(elsewhere / path.name)
    return [elsewhere / path.name, Path("../elsewhere") / path.name, link]


def test_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    stock.stock()
    stock.exported(tmp_path)
    (path,) = stock.files(tmp_path)
    for way in outside(tmp_path, path):
        with pytest.raises(ArchiveError, match=rf": allowed are files in {tmp_path}/archive$"):
            known_files([way], pairs=(), artifacts=tmp_path, using="default")


def test_a_file_is_found_by_its_name_and_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock.stock()
    stock.exported(tmp_path)
    (path,) = stock.files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for way in (Path(path.name), path, Path("archive") / path.name):
        (row,) = known_files([way], pairs=(), artifacts=tmp_path, using="default")
        assert row.path == f"archive/{path.name}"
    assert len(known_files([path, Path(path.name)], pairs=(), artifacts=tmp_path, using="default")) == 1
