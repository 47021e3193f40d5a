"""Pairs that an archive file holds leave the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import transaction

from maintenance.archive.records import CHANNELS, Channel, Record, read_records
from maintenance.night import ROWS_PER_TRANSACTION
from memory.bulk import insert_rows, key_list
from memory.extraction.batch import COLLAPSED
from memory.models import ExportedPair

_COLUMNS = ("channel", "pair_id", "content_hash", "message_id", "other_message_id", "collapsed", "file")


@dataclass(frozen=True, slots=True)
class Kept:
    """A pair that is in the file and stays in the database, and why."""

    channel: str
    pair: int
    reason: str


@dataclass(slots=True)
class Removal:
    """How many pairs left, by channel, and which stay."""

    removed: Counter[str] = field(default_factory=Counter)
    kept: list[Kept] = field(default_factory=list)


def remove_pairs(records: Iterable[Record], *, file: str, using: str) -> Removal:
    """Delete the pairs of `records`, with all rows that belong to them, in short transactions.

    A pair that is not any more what was written, in whichever column, stays; so does one that stands for a pair that
    stays, and one that came back from this very file. What is gone already is passed over, so that a killed removal is
    completed by the next. `ExportedPair` keeps a little of each pair, with the name of the `file`.
    """
    removal = Removal()
    for batch in record_batches(records):
        _remove(batch[0].channel, batch, removal, file=file, using=using)
    return removal


def record_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records of one channel in batches of about as many rows as one transaction may write."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (size + record.size > ROWS_PER_TRANSACTION or record.channel != batch[0].channel):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch


def forget_exports(channel: Channel, keys: Sequence[int], *, using: str) -> None:
    """Delete what is on record of earlier exports of these pairs."""
    known = ExportedPair.objects.using(using).filter(channel=channel.name)
    known.filter(pair_id__in=key_list(keys, using=using)).delete()


def _remove(channel: Channel, records: Sequence[Record], removal: Removal, *, file: str, using: str) -> None:
    pairs = channel.model.objects.using(using)
    keys = [record.key for record in records]
    with transaction.atomic(using=using):
        # The lock comes first, by itself: a query that waits for one goes on with what it had read before.
        list(pairs.filter(pk__in=key_list(keys, using=using)).order_by("pk").select_for_update().values("pk"))
        stored = {record.key: record for record in read_records(channel, keys, among=pairs.all(), using=using)}
        present = {record.key: record for record in records if record.key in stored}
        reasons = {
            key: "changed since it was written" for key, record in present.items() if not record.is_still(stored[key])
        }
        reasons |= _back(channel, keys, file=file, using=using)
        reasons |= _needed(channel, present.keys() - reasons.keys(), using=using)
        going = [record for key, record in present.items() if key not in reasons]
        _delete(channel, [record.key for record in going], using=using)
        insert_rows(ExportedPair, _COLUMNS, [_remains(record, file) for record in going], using=using)
    removal.removed[channel.name] += len(going)
    removal.kept += [Kept(channel.name, key, reason) for key, reason in reasons.items()]


def _back(channel: Channel, keys: Sequence[int], *, file: str, using: str) -> dict[int, str]:
    back = ExportedPair.objects.using(using).filter(channel=channel.name, file=file, restored_at__isnull=False)
    found = back.filter(pair_id__in=key_list(keys, using=using)).values_list("pair_id", flat=True)
    return dict.fromkeys(found, "came back from this file")


def _needed(channel: Channel, keys: Iterable[int], *, using: str) -> dict[int, str]:
    """Return those of `keys` that stand for a pair which does not go with them, by key with the reason."""
    going = set(keys)
    merged = channel.model.objects.using(using).filter(merged_into__in=key_list(sorted(going), using=using))
    members = list(merged.values_list("pk", "merged_into_id"))
    reasons: dict[int, str] = {}
    while True:
        found = {into: f"stands for pair {pk}" for pk, into in members if into in going and pk not in going}
        if not found:
            return reasons
        reasons |= found
        going -= found.keys()


def _delete(channel: Channel, keys: Sequence[int], *, using: str) -> None:
    if not keys:
        return
    # Straight from the tables: the collector would write records of deletion, and cut the links of merged pairs.
    for table in channel.belongings.values():
        channel.of_pairs(table, keys, using=using)._raw_delete(using)
    channel.model.objects.using(using).filter(pk__in=key_list(keys, using=using))._raw_delete(using)
    forget_exports(channel, keys, using=using)


def _remains(record: Record, file: str) -> tuple[object, ...]:
    pair = record.pair
    is_sft = record.channel == CHANNELS["sft"]
    return (
        *(record.channel.name, record.key, pair["content_hash"]),
        pair["assistant_message_id"] if is_sft else pair["chosen_message_id"],
        None if is_sft else pair["rejected_message_id"],
        pair["metadata"].get(COLLAPSED, []) if isinstance(pair["metadata"], dict) else [],
        file,
    )
