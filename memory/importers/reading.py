"""A recognised file as a stream of parsed records; a record that cannot be read costs no other."""

from collections.abc import Iterator

from memory.importers import legacy
from memory.importers.detect import LEGACY, READERS, Reader, Recognised
from memory.importers.json_values import OnPosition, Value, values
from memory.importers.records import BadRecordError, Parsed, Skipped, UnreadableFileError


def read(file: Recognised, on_position: OnPosition | None = None) -> Iterator[Parsed]:
    """Yield what `file` holds, in its order; damage comes as `Skipped` and `CutOff` among the records.

    `on_position` is called with the position in the file, in bytes, as reading goes on.
    """
    yield from file.refused
    if file.format == LEGACY:
        yield from legacy.read(file.path)
        return
    reader = READERS[file.format]
    for part in file.parts:
        try:
            for value in values(part, on_position):
                if isinstance(value, Value):
                    yield from _records(reader, value)
                else:
                    yield value
        except UnreadableFileError as error:
            yield Skipped(part.member or part.path.name, str(error))


def _records(reader: Reader, value: Value) -> Iterator[Parsed]:
    try:
        yield from reader(value.data, value.where)
    except BadRecordError as error:
        yield Skipped(value.where, str(error))
