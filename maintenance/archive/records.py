"""A pair with all that belongs to it, as one line of JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.db import models
from django.db.models import Q

from maintenance.models import Proposal
from memory.bulk import insert_rows, key_list, pass_ids
from memory.models import PairEmbedding, PreferencePair, SftPair
from training.models import PairUse

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: its name in files, its tables of pairs and of their earlier states, how other tables name a pair."""

    name: str
    model: type[SftPair] | type[PreferencePair]
    history: type[models.Model]
    link: str

    @property
    def belongings(self) -> Mapping[str, type[models.Model]]:
        """The tables whose rows leave and come back with their pair, by their names in a line."""
        return {"embeddings": PairEmbedding, "uses": PairUse, "history": self.history, "proposals": Proposal}

    def owners(self, table: type[models.Model]) -> Sequence[str]:
        """Return the columns by which a row of `table` names its pairs."""
        if table is self.history:
            return ("id",)
        return (f"{self.link}_id", f"other_{self.link}_id") if table is Proposal else (f"{self.link}_id",)

    def of_pairs(self, table: type[models.Model], pairs: Sequence[int], *, using: str) -> models.QuerySet[Any]:
        """Return the rows of `table` that name one of `pairs`."""
        keys = key_list(pairs, using=using)
        named = Q()
        for owner in self.owners(table):
            named |= Q(**{f"{owner}__in": keys})
        return table._default_manager.using(using).filter(named)


SFT = Channel("sft", SftPair, SftPair.history.model, "sft_pair")
PREFERENCE = Channel("preference", PreferencePair, PreferencePair.history.model, "preference_pair")
CHANNELS: Mapping[str, Channel] = {channel.name: channel for channel in (SFT, PREFERENCE)}
_KEYS = {"channel", "pair", *SFT.belongings}


@dataclass(frozen=True, slots=True)
class Record:
    """A pair and the rows that belong to it, in plain JSON values, by column.

    Times are ISO 8601 in UTC with their microseconds, bytes are base64, floats have all their digits.
    """

    channel: Channel
    pair: Row
    belongings: Mapping[str, list[Row]]

    @property
    def key(self) -> int:
        """The pair's primary key."""
        return int(self.pair["id"])

    @property
    def name_and_key(self) -> tuple[str, int]:
        """The channel's name and the pair's primary key."""
        return self.channel.name, self.key

    @property
    def size(self) -> int:
        """How many rows it is."""
        return 1 + sum(len(rows) for rows in self.belongings.values())

    def as_line(self) -> str:
        """Return the record as JSON in ASCII, without a line break."""
        content = {"channel": self.channel.name, "pair": self.pair, **self.belongings}
        return json.dumps(content, separators=(",", ":"))

    def is_still(self, stored: Record) -> bool:
        """Return whether the pair is `stored` as it was when this record was written.

        Of its proposals some may be gone: they leave with the first of their two pairs.
        """
        written = self.belongings["proposals"]
        return self._apart() == stored._apart() and all(row in written for row in stored.belongings["proposals"])

    def _apart(self) -> str:
        # As text, in which not a number equals itself.
        return Record(self.channel, self.pair, {**self.belongings, "proposals": []}).as_line()


def parse_record(line: str) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: it is none, or its rows have other columns than the tables; says what was got.

    """
    content = json.loads(line)
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise ValueError(f"got {_shown(content)}, allowed an object with {', '.join(sorted(_KEYS))}")
    channel = CHANNELS.get(content["channel"])
    if channel is None:
        raise ValueError(f"channel: got {content['channel']}, allowed {' or '.join(CHANNELS)}")
    return Record(
        channel,
        _fitted(channel.model, content["pair"]),
        {name: [_fitted(table, row) for row in content[name]] for name, table in channel.belongings.items()},
    )


def read_records(channel: Channel, keys: Sequence[int], *, among: models.QuerySet[Any], using: str) -> Iterator[Record]:
    """Yield the records of those of `keys` that are `among` the pairs meant, in the order of `keys`.

    Five queries, whatever the count; all of the rows are in memory at once.
    """
    found = among.using(using).filter(pk__in=key_list(keys, using=using)).order_by()
    pairs = {row["id"]: _plain(row) for row in found.values(*_columns(channel.model))}
    present = [key for key in keys if key in pairs]
    belongings = {name: _rows_of(channel, table, present, using=using) for name, table in channel.belongings.items()}
    for key in present:
        yield Record(channel, pairs[key], {name: rows.get(key, []) for name, rows in belongings.items()})


def insert_records(table: type[models.Model], rows: Sequence[Row], *, using: str) -> None:
    """Store plain rows of `table` as they were, primary keys included; later rows get higher ones."""
    if not rows:
        return
    columns = _columns(table)
    fields = [_field(table, name) for name in columns]
    stored = [[_stored(field, row[name]) for field, name in zip(fields, columns, strict=True)] for row in rows]
    insert_rows(table, columns, stored, using=using)
    pass_ids(table, max(row[table._meta.pk.attname] for row in rows), using=using)


def _rows_of(channel: Channel, table: type[models.Model], keys: Sequence[int], *, using: str) -> dict[int, list[Row]]:
    wanted = set(keys)
    by_pair: dict[int, list[Row]] = {}
    for row in channel.of_pairs(table, keys, using=using).order_by("pk").values(*_columns(table)):
        plain = _plain(row)
        for owner in channel.owners(table):
            if plain[owner] in wanted:
                by_pair.setdefault(plain[owner], []).append(plain)
    return by_pair


@cache
def _columns(table: type[models.Model]) -> tuple[str, ...]:
    return tuple(field.attname for field in table._meta.concrete_fields)


def _field(table: type[models.Model], column: str) -> models.Field[Any, Any]:
    return next(field for field in table._meta.concrete_fields if field.attname == column)


def _plain(row: Row) -> Row:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode("ascii")
    return value


def _stored(field: models.Field[Any, Any], value: Any) -> Any:
    if value is None and isinstance(field, models.JSONField) and not field.null:
        # JSON's null, which is a value; None alone would be SQL's.
        return models.Value(None, models.JSONField())
    return field.to_python(value)


def _fitted(table: type[models.Model], row: Any) -> Row:
    """Return the row with what the table's columns that came since have by default."""
    label, columns = table._meta.label_lower, _columns(table)
    if not isinstance(row, dict):
        raise ValueError(f"{label}: got {_shown(row)}, allowed an object")
    if unknown := sorted(row.keys() - set(columns)):
        raise ValueError(f"{label}: got a column {unknown[0]}, allowed are {', '.join(columns)}")
    if len(row) == len(columns):
        return row
    missing = [_field(table, name) for name in columns if name not in row]
    for field in missing:
        if not (field.has_default() or field.null):
            raise ValueError(f"{label}: got no column {field.attname}, which has no default")
    return {**row, **{field.attname: _plain_value(field.get_default()) for field in missing}}


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
