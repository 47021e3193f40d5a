"""Training pairs from a JSON lines file in TRL's formats, where they do not come from the database.

A memory line has `prompt` with `completion`, or `messages` of which the last is the answer; a preference line has
`chosen` with `rejected`, and `prompt` unless both begin with it. Each is a list of messages or a plain text. A line may
also have `created_at` (else the file's own time), `reward` and `weight` (0 to 1), `source`, and `conversation` or `id`.
Reasoning in an answer is cut out, as it is on import.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from memory import rules
from memory.importers import fields, trl
from memory.importers.records import BadRecordError, ParsedConversation, ParsedMessage, ParsedPreference
from memory.text import content_hash, preference_hash, trimmed
from training.datasets import PreferenceRecord, Record, SftRecord
from training.preference_groups import preference_group

# Share of bad lines above which something else is wrong with the file than a few lines.
MAX_BAD_RATIO = 0.05
# How many of them an error names.
NAMED_BAD_LINES = 5
# What a pair from a file is taken for that does not say: one that was imported.
DEFAULT_SOURCE = "import"

_Record = TypeVar("_Record", bound=Record)


class PairsFileError(ValueError):
    """A file of pairs that cannot be used; says which and why."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no pair: its number (from 1), what is wrong with it."""

    file: str
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.number}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PairsFile(Generic[_Record]):
    """What a file holds: its pairs in their order, and the lines that were skipped."""

    records: tuple[_Record, ...]
    bad_lines: tuple[BadLine, ...]


def pairs_path(key: str, name: str, *, data_dir: Path) -> Path:
    """Return the path of the file that the config's `key` names, relative to `data_dir`.

    Raises:
        PairsFileError: there is no such file, or it lies outside of `data_dir`, be it by a link.

    """
    path = (data_dir / name).resolve()
    if Path(name).is_absolute() or not path.is_relative_to(data_dir.resolve()):
        raise PairsFileError(f"{key}: got {name}, allowed a path under DATA_DIR ({data_dir}), relative to it")
    if not path.is_file():
        raise PairsFileError(f"{key}: got {name}, which is no file under DATA_DIR ({data_dir})")
    return path


def sft_jsonl(path: Path) -> PairsFile[SftRecord]:
    """Return the memory pairs in the file at `path`.

    Raises:
        PairsFileError: it cannot be read, is empty, or has more bad lines than `MAX_BAD_RATIO`.

    """
    return _read(path, _sft_record)


def preference_jsonl(path: Path) -> PairsFile[PreferenceRecord]:
    """Return the preference pairs in the file at `path`.

    Raises:
        PairsFileError: it cannot be read, is empty, or has more bad lines than `MAX_BAD_RATIO`.

    """
    return _read(path, _preference_record)


def _read(path: Path, record_of: Callable[[Mapping[str, Any], datetime], _Record]) -> PairsFile[_Record]:
    records: list[_Record] = []
    bad: list[BadLine] = []
    try:
        written_at = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)
        for number, line in _lines(path):
            try:
                records.append(record_of(_row(line), written_at))
            except BadRecordError as error:
                bad.append(BadLine(path.name, number, str(error)))
    except OSError as error:
        raise PairsFileError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    total = len(records) + len(bad)
    if total == 0:
        raise PairsFileError(f"{path.name}: is empty")
    if len(bad) > MAX_BAD_RATIO * total:
        named = "".join(f"\n  {line}" for line in bad[:NAMED_BAD_LINES])
        raise PairsFileError(
            f"{path.name}: got {len(bad)} bad lines of {total}, allowed {MAX_BAD_RATIO:.0%}; the first are{named}"
        )
    return PairsFile(tuple(records), tuple(bad))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def _row(line: bytes) -> Mapping[str, Any]:
    try:
        # A byte-order mark is no part of the first line.
        return fields.as_object(json.loads(line.decode("utf-8-sig")), "line")
    except UnicodeDecodeError as error:
        raise BadRecordError(f"not UTF-8: {error}") from error
    except json.JSONDecodeError as error:
        raise BadRecordError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise BadRecordError("not JSON: nested too deeply") from error


def _sft_record(row: Mapping[str, Any], written_at: datetime) -> SftRecord:
    (parsed,) = trl.read(row, "")
    if not isinstance(parsed, ParsedConversation):
        raise BadRecordError("got chosen or rejected, allowed prompt with completion, or messages")
    said = [message for message in parsed.messages if message.kind == "dialogue" and trimmed(message.content)]
    if not said or said[-1].role != "assistant":
        raise BadRecordError(f"messages: got {_roles(said)}, allowed messages that end with the assistant's")
    *prompt, answer = said
    if not prompt or prompt[-1].role not in ("user", "tool"):
        raise BadRecordError(f"prompt: got {_roles(prompt)}, allowed messages that end with the user's")
    question, completion = trimmed(prompt[-1].content), trimmed(answer.content)
    _long_enough(prompt=(question, rules.MIN_INSTRUCTION_LENGTH), completion=(completion, rules.MIN_RESPONSE_LENGTH))
    reward = fields.unit_interval(row, "reward")
    if reward is None:
        reward = rules.reward_of(logged=answer.reward_intensity, rating=answer.rating)
    context = [{"role": message.role, "content": message.content} for message in prompt[:-1]]
    return SftRecord(
        id=None,
        prompt=(*context, {"role": prompt[-1].role, "content": question}),
        completion=({"role": "assistant", "content": completion},),
        weight=reward * _weight(row),
        reward=reward,
        source=_source(row),
        conversation=fields.identifier(row, "conversation", "id"),
        created_at=fields.moment(row, "created_at") or written_at,
        content_hash=content_hash(question, completion),
    )


def _preference_record(row: Mapping[str, Any], written_at: datetime) -> PreferenceRecord:
    (parsed,) = trl.read(row, "")
    if not isinstance(parsed, ParsedPreference):
        raise BadRecordError("got no chosen and rejected, allowed both, with a prompt")
    chosen, rejected = trimmed(parsed.chosen), trimmed(parsed.rejected)
    _long_enough(chosen=(chosen, rules.MIN_RESPONSE_LENGTH), rejected=(rejected, rules.MIN_RESPONSE_LENGTH))
    if chosen == rejected:
        raise BadRecordError("rejected: got the same text as chosen, allowed only another one")
    reward = fields.unit_interval(row, "reward")
    source = _source(row)
    return PreferenceRecord(
        id=None,
        prompt=parsed.prompt,
        chosen=({"role": "assistant", "content": chosen},),
        rejected=({"role": "assistant", "content": rejected},),
        weight=_weight(row),
        # A pair that says no more than which answer is liked: a reward of 1 against one of 0.
        reward=1.0 if reward is None else reward,
        source=source,
        group=preference_group(source, approved=False),
        conversation=fields.identifier(row, "conversation", "id"),
        created_at=fields.moment(row, "created_at") or written_at,
        content_hash=preference_hash(parsed.prompt, chosen, rejected),
    )


def _long_enough(**texts: tuple[str, int]) -> None:
    found = [rules.length_problem(field, text, minimum=minimum) for field, (text, minimum) in texts.items()]
    if problems := [problem for problem in found if problem is not None]:
        raise BadRecordError("; ".join(problems))


def _weight(row: Mapping[str, Any]) -> float:
    weight = fields.unit_interval(row, "weight")
    return 1.0 if weight is None else weight


def _source(row: Mapping[str, Any]) -> str:
    return fields.label(row, "source") or DEFAULT_SOURCE


def _roles(messages: Sequence[ParsedMessage]) -> str:
    return ", ".join(message.role for message in messages) or "no messages"
