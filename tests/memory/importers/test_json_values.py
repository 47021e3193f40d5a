from pathlib import Path

import pytest

from memory.importers.files import Part
from memory.importers.json_values import CHUNK_BYTES, Value, values
from memory.importers.records import CutOff, Skipped, UnreadableFileError


def read(tmp_path: Path, content: bytes) -> list[Value | Skipped | CutOff]:
    path = tmp_path / "export"
    path.write_bytes(content)
    return list(values(Part(path)))


@pytest.mark.parametrize(
    "content",
    [
        b'[{"a": 1}, {"a": 2}]',
        b'\xef\xbb\xbf[{"a": 1}, {"a": 2}]',
        b'\n [\n{"a": 1},\n{"a": 2}\n]\n',
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n\n{"a": 2}',
        b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n',
        b'{\n  "a": 1\n}\n{\n  "a": 2\n}\n',
    ],
)
def test_an_array_lines_and_objects_in_a_row_give_the_same_values(tmp_path: Path, content: bytes) -> None:
    assert [value.data for value in read(tmp_path, content) if isinstance(value, Value)] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("content", [b'{"a": 1}', b'{\n"a": 1\n}', b'[{"a": 1}]'])
def test_a_single_object_is_one_value(tmp_path: Path, content: bytes) -> None:
    [found] = read(tmp_path, content)

    assert isinstance(found, Value)
    assert found.data == {"a": 1}


@pytest.mark.parametrize(
    "content", [b'[{"a": 1}, {"a": 2}, {"a": "cut', b'[{"a": 1}, {"a": 2}', b'{"a": 1}\n{"a": 2}\n{"a": "cut']
)
def test_of_a_file_that_ends_early_everything_whole_is_kept(tmp_path: Path, content: bytes) -> None:
    *kept, end = read(tmp_path, content)

    assert [value.data for value in kept if isinstance(value, Value)] == [{"a": 1}, {"a": 2}]
    assert end == CutOff(len(content), "the file ends inside a record")


@pytest.mark.parametrize("padding", [0, 10, CHUNK_BYTES - 20, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_garbage_in_an_array_ends_it_at_the_exact_byte(tmp_path: Path, padding: int, mark: bytes) -> None:
    good = mark + b'[{"a": 1}, {"a": "' + b"x" * padding + b'"}, '
    *kept, end = read(tmp_path, good + b'%%% {"a": 3}]')

    assert len(kept) == 2
    assert isinstance(end, CutOff)
    assert end.byte_offset == len(good)
    assert end.reason.startswith("not JSON from here on: ")


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    first, second, third = read(tmp_path, b'{"a": 1}\n%%%\n{"a": 3}\n')

    assert isinstance(first, Value)
    assert isinstance(second, Skipped)
    assert second.where == "line 2"
    assert second.reason.startswith("not JSON: ")
    assert third == Value({"a": 3}, "line 3")


def test_a_broken_first_line_costs_only_itself(tmp_path: Path) -> None:
    first, second = read(tmp_path, b'%%%\n{"a": 2}\n')

    assert isinstance(first, Skipped)
    assert second == Value({"a": 2}, "line 2")


def test_a_line_nested_too_deep_costs_only_itself(tmp_path: Path) -> None:
    _, deep, last = read(tmp_path, b'{"a": 1}\n{"a": ' + b"[" * 100_000 + b"\n" + b'{"a": 3}\n')

    assert isinstance(deep, Skipped)
    assert isinstance(last, Value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"  \n ", "is empty"),
        (b"Dear diary", "is neither JSON, nor a ZIP archive, nor a SQLite database"),
        (b"\x89PNG\r\n", "is neither JSON, nor a ZIP archive, nor a SQLite database"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        read(tmp_path, content)

    assert str(caught.value) == reason


def test_reading_tells_its_position(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b'[{"a": 1}]')
    positions: list[int] = []

    list(values(Part(path), positions.append))

    assert positions[-1] == 10
