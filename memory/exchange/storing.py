"""Rows of an uploaded file into the database, or what would come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from memory.bulk import text_list
from memory.exchange.files import Row
from memory.importers.records import BadRecordError
from memory.models import ExportedPair, PreferencePair, SftPair

# Rows of a transaction.
BATCH_ROWS = 1_000
# Bad rows that are told one by one, and good ones that a preview shows.
SHOWN_PROBLEMS = 100
SHOWN_PAIRS = 20

Pair = SftPair | PreferencePair
_CHANNELS = {SftPair: ExportedPair.Channel.SFT, PreferencePair: ExportedPair.Channel.PREFERENCE}


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out: the line where it begins, and why."""

    line: int
    reason: str


@dataclass(slots=True)
class Outcome:
    """What came of a file, or would come of it: new pairs, pairs that were stored already, rows that were left out."""

    created: int = 0
    already_present: int = 0
    refused: int = 0
    bad_rows: list[BadRow] = field(default_factory=list)
    first_pairs: list[Any] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Count a bad row; the first ones are kept with their reason."""
        self.refused += 1
        if len(self.bad_rows) < SHOWN_PROBLEMS:
            self.bad_rows.append(BadRow(line, reason))


def store(
    model: type[SftPair] | type[PreferencePair],
    rows: Iterable[Row],
    *,
    read: Callable[[type[SftPair] | type[PreferencePair], Mapping[str, Any]], Pair],
    dry_run: bool,
) -> Outcome:
    """Store the pairs of `rows` that are not stored yet, batch by batch; with `dry_run` only count them.

    `read` makes a pair of the values of a row. A text that lies in an archive file counts as stored: a person may have
    rejected it.
    """
    outcome = Outcome()
    seen: set[bytes] = set()
    pairs = _good(model, rows, read, outcome)
    while batch := list(islice(pairs, BATCH_ROWS)):
        new = _new(model, batch, seen)
        if dry_run:
            stored = len(new)
        elif model is SftPair:
            stored = SftPair.objects.insert(new)
        else:
            # One that somebody else has stored meanwhile is passed over; the table allows no second one.
            stored = PreferencePair.objects.insert(new, skip_existing=True)
        outcome.created += stored
        outcome.already_present += len(batch) - stored
        outcome.first_pairs += new[: SHOWN_PAIRS - len(outcome.first_pairs)]
    return outcome


def _good(
    model: type[SftPair] | type[PreferencePair],
    rows: Iterable[Row],
    read: Callable[[type[SftPair] | type[PreferencePair], Mapping[str, Any]], Pair],
    outcome: Outcome,
) -> Iterator[Any]:
    for row in rows:
        problems = [row.problem] if row.problem else []
        if not problems:
            try:
                pair = read(model, row.values)
            except BadRecordError as error:
                problems = [str(error)]
            else:
                pair.prepare()
                problems = pair.problems()
        if problems:
            outcome.refuse(row.line, "; ".join(problems))
        else:
            yield pair


def _new(model: type[SftPair] | type[PreferencePair], pairs: list[Any], seen: set[bytes]) -> list[Any]:
    """Return the first pair of each text that is neither stored, nor in an archive file, nor `seen` before."""
    hashes = [pair.content_hash for pair in pairs]
    among = text_list(hashes, using=model.objects.db)
    known = set(model.objects.filter(content_hash__in=among).values_list("content_hash", flat=True))
    known |= ExportedPair.objects.away().hashes(_CHANNELS[model], hashes)
    new = []
    for pair in pairs:
        digest = bytes.fromhex(pair.content_hash)
        if pair.content_hash not in known and digest not in seen:
            seen.add(digest)
            new.append(pair)
    return new
