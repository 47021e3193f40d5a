"""Pairs come back from archive files as they were."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import IntegrityError, models, transaction
from django.utils import timezone

from maintenance.archive.files import ArchiveError, Manifest, archive_folder, check_archive, records_of, stored_path
from maintenance.archive.records import CHANNELS, Channel, Record, Row, insert_records
from maintenance.archive.removing import record_batches
from maintenance.conflicts import stored_value
from maintenance.models import ArchiveFile, Proposal
from memory.bulk import key_list, text_list
from memory.models import ExportedPair, PreferencePair, TrainingPair

PairKey = tuple[str, int]

# What no edit changes tells a pair that is back already from another one under its key.
_SAME = ("created_at", "source")


@dataclass(frozen=True, slots=True)
class RefusedPair:
    """A pair that could not be restored, and why."""

    channel: str
    pair: int
    reason: str


@dataclass(slots=True)
class RestoreReport:
    """What restoring a file came to.

    Attributes:
        file: its path under ARTIFACTS_DIR.
        restored: pairs that came back, by channel.
        present: pairs that were there already, by channel.
        refused: pairs that could not be restored.
        proposals_waiting: proposals whose other pair is not in the database; the file brings them once it is.
        cut_links: links to a conversation, a message or a person that were deleted since, and uses by deleted runs.

    """

    file: str
    restored: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANNELS, 0))
    present: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANNELS, 0))
    refused: list[RefusedPair] = field(default_factory=list)
    proposals_waiting: int = 0
    cut_links: int = 0


def known_files(files: Iterable[Path], *, pairs: Collection[PairKey], artifacts: Path, using: str) -> list[ArchiveFile]:
    """Return the rows of archive files, given by names or paths, that can be restored.

    A row is made where the database has none.

    Args:
        files: names of files in the archive's folder, or paths to such.
        pairs: channel and key of pairs that must be in them.
        artifacts: ARTIFACTS_DIR.
        using: the database.

    Raises:
        ArchiveError: a file is missing or damaged, lies elsewhere, or was written by another version; or a pair is in
            none of them.

    """
    manifests = {}
    for file in files:
        path = _existing_path(file, artifacts)
        manifests[path] = check_archive(path, artifacts=artifacts, using=using)
    held = {record.name_and_key for path in manifests for record in records_of(path)} if pairs else set()
    if missing := sorted(set(pairs) - held):
        raise ArchiveError(f"--pair: got {missing[0][0]}:{missing[0][1]}, which is in none of the files")
    return [_known_file(path, manifest, using=using) for path, manifest in manifests.items()]


def restore_files(
    archive_files: Sequence[ArchiveFile],
    *,
    artifacts: Path,
    using: str,
    only: Collection[PairKey] | None = None,
) -> list[RestoreReport]:
    """Put the pairs of files back, with their primary keys, every column, and all rows that belonged to them.

    A pair comes in one transaction with all that belongs to it. One that is there already is left alone, so that a
    second call does what a killed one left. What was archived is archived still. Links to what was deleted since are
    cut, as the deletion itself would have done.

    Args:
        archive_files: the rows of the files.
        artifacts: ARTIFACTS_DIR.
        using: the database.
        only: channel and key of the pairs to restore; all where none are given.

    Raises:
        ArchiveError: a file is missing or damaged, or was written by another version; then nothing was restored.

    """
    work = [_Restoration(row, artifacts, only=only, using=using) for row in archive_files]
    while True:
        # Whoever is merged into another comes before it in the file, and waits until that one is there.
        restored = sum(each.restore() for each in work)
        if not restored or not any(each.waiting for each in work):
            break
    for each in work:
        each.end(is_whole=only is None)
    return [each.report for each in work]


def _existing_path(file: Path, artifacts: Path) -> Path:
    inside = archive_folder(artifacts) / file
    return inside if inside.is_file() or not file.is_file() else file


def _known_file(path: Path, manifest: Manifest, *, using: str) -> ArchiveFile:
    archive_file, _ = ArchiveFile.objects.using(using).get_or_create(
        path=stored_path(path.resolve()),
        defaults={
            "sha256": manifest.sha256,
            "sft_pairs": manifest.sft_pairs,
            "preference_pairs": manifest.preference_pairs,
            "created_at": manifest.created,
            # Else the next night would take the pairs out of the database once more.
            "removed_at": timezone.now(),
        },
    )
    return archive_file


class _Restoration:
    """One file on its way back, in as many passes as it takes; `waiting` are pairs whose survivor is not there yet."""

    def __init__(
        self, archive_file: ArchiveFile, artifacts: Path, *, only: Collection[PairKey] | None, using: str
    ) -> None:
        self._row = archive_file
        self._path = artifacts / archive_file.path
        self._using = using
        self._wanted = only
        self._proposals: list[tuple[Channel, Row]] = []
        self.waiting: dict[PairKey, str] = {}
        self.report = RestoreReport(archive_file.path)
        if check_archive(self._path, artifacts=artifacts, using=using).sha256 != archive_file.sha256:
            raise ArchiveError(f"{self._path}: its manifest was changed: the database has another checksum")

    def restore(self) -> int:
        """Restore what can be, of the whole file or of what waited before; return how many pairs came."""
        wanted = self._wanted
        if wanted is not None and not wanted:
            return 0
        before = sum(self.report.restored.values())
        self.waiting = {}
        chosen = (record for record in records_of(self._path) if wanted is None or record.name_and_key in wanted)
        for batch in record_batches(chosen):
            self._restore(batch)
        self._wanted = self.waiting
        return sum(self.report.restored.values()) - before

    def end(self, *, is_whole: bool) -> None:
        """Bring the proposals that waited, as far as their pairs are there, and close the report."""
        report = self.report
        report.refused += [RefusedPair(*key, reason) for key, reason in self.waiting.items()]
        by_channel: dict[Channel, list[Row]] = {}
        for channel, row in self._proposals:
            by_channel.setdefault(channel, []).append(row)
        with transaction.atomic(using=self._using):
            for channel, rows in by_channel.items():
                placed = _Placed()
                _insert_proposals(channel, rows, placed, using=self._using)
                report.proposals_waiting += len(placed.proposals_waiting)
                report.cut_links += placed.cut_links
            if is_whole and not report.refused:
                self._row.restored_at = timezone.now()
                self._row.save(update_fields=["restored_at"], using=self._using)

    def _restore(self, records: Sequence[Record]) -> None:
        """Restore records of one channel in one transaction; where that fails, each in its own."""
        channel, report = records[0].channel, self.report
        try:
            with transaction.atomic(using=self._using):
                placed = _place(records, file=self._path.name, using=self._using)
        except IntegrityError as error:
            if len(records) == 1:
                report.refused.append(RefusedPair(*records[0].name_and_key, " ".join(str(error).split())))
            else:
                for record in records:
                    self._restore([record])
            return
        report.restored[channel.name] += placed.restored
        report.present[channel.name] += placed.present
        report.refused += [RefusedPair(channel.name, key, reason) for key, reason in placed.refused.items()]
        report.cut_links += placed.cut_links
        self._proposals += [(channel, row) for row in placed.proposals_waiting]
        self.waiting |= {(channel.name, key): reason for key, reason in placed.waiting.items()}


@dataclass(slots=True)
class _Placed:
    """What became of the records of one transaction."""

    restored: int = 0
    present: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    proposals_waiting: list[Row] = field(default_factory=list)
    cut_links: int = 0


def _place(records: Sequence[Record], *, file: str, using: str) -> _Placed:
    channel = records[0].channel
    placed = _Placed()
    obstacles = _Obstacles(records, file=file, using=using)
    survivors = _survivors(channel, records, using=using)
    coming: list[Record] = []
    # Whoever stands for others comes after them in the file.
    for record in reversed(records):
        into = record.pair["merged_into_id"]
        if obstacles.is_present(record):
            placed.present += 1
        elif reason := obstacles.reason(record):
            placed.refused[record.key] = reason
        elif into is not None and into not in survivors:
            placed.waiting[record.key] = f"is merged into pair {into}, which is not there: restore that one first"
        else:
            last = None if into is None else survivors[into]
            survivors[record.key] = record.key if last is None else last
            coming.append(Record(channel, {**record.pair, "merged_into_id": last}, record.belongings))
    _insert(channel, coming, placed, using=using)
    here = [record for record in records if record.key not in placed.refused and record.key not in placed.waiting]
    proposals = [row for record in here for row in record.belongings["proposals"]]
    _insert_proposals(channel, proposals, placed, using=using)
    away = ExportedPair.objects.using(using).away().filter(channel=channel.name)
    back = key_list([record.key for record in coming], using=using)
    away.filter(pair_id__in=back).update(restored_at=timezone.now())
    placed.restored = len(coming)
    return placed


class _Obstacles:
    """What keeps records of one channel from coming back: read once for all of them."""

    def __init__(self, records: Sequence[Record], *, file: str, using: str) -> None:
        self._file = file
        channel = records[0].channel
        pairs = channel.model.objects.using(using)
        keys = key_list([record.key for record in records], using=using)
        self._present = {pk: same for pk, *same in pairs.filter(pk__in=keys).values_list("pk", *_SAME)}
        away = ExportedPair.objects.using(using).away().filter(channel=channel.name, pair_id__in=keys)
        self._files = dict(away.values_list("pair_id", "file"))
        self._unique = _unique_column(channel)
        values = [record.pair[self._unique] for record in records if record.pair[self._unique] is not None]
        listed = text_list(values, using=using) if channel.model is PreferencePair else key_list(values, using=using)
        others = pairs.filter(**{f"{self._unique}__in": listed})
        self._holders = dict(others.values_list(self._unique, "pk"))
        self._taken = {name: _taken_keys(table, name, records, using=using) for name, table in _own_tables(channel)}

    def is_present(self, record: Record) -> bool:
        """Return whether the pair is back already."""
        found = self._present.get(record.key)
        return found is not None and found == [_value(record, name) for name in _SAME]

    def reason(self, record: Record) -> str:
        """Return why the pair cannot come back; empty where it can."""
        if record.key in self._present:
            return "its key has been taken by another pair"
        if (newer := self._files.get(record.key, self._file)) != self._file:
            return f"left the database again later: {newer} has it as it was last"
        holder = self._holders.get(record.pair[self._unique])
        if holder is not None:
            same = "content" if self._unique == "content_hash" else "message"
            return f"pair {holder} has been made of the same {same} since"
        for name, taken in self._taken.items():
            table = record.channel.belongings[name]
            if found := [row for row in record.belongings[name] if row[_key_column(table)] in taken]:
                return f"key {found[0][_key_column(table)]} of its {name} has been taken by another row"
        return ""


def _survivors(channel: Channel, records: Sequence[Record], *, using: str) -> dict[int, int]:
    """Return, for the pairs that records are merged into and that are there, which pair stands for them now."""
    pairs = channel.model.objects.using(using)
    into: dict[int, int | None] = {}
    asked = {record.pair["merged_into_id"] for record in records} - {None}
    while asked:
        found = pairs.filter(pk__in=key_list(sorted(asked), using=using)).values_list("pk", "merged_into_id")
        into |= dict(found)
        asked = set(into.values()) - {None, *into}
    last: dict[int, int] = {}
    for key in into:
        at, seen = key, {key}
        while (further := into.get(at)) is not None and further not in seen:
            at = further
            seen.add(at)
        last[key] = at
    return last


def _insert(channel: Channel, records: Sequence[Record], placed: _Placed, *, using: str) -> None:
    pairs = [record.pair for record in records]
    insert_records(channel.model, _mended(channel.model, pairs, placed, using=using), using=using)
    for name, table in _own_tables(channel):
        rows = [row for record in records for row in record.belongings[name]]
        insert_records(table, _mended(table, rows, placed, using=using), using=using)


def _insert_proposals(channel: Channel, rows: Iterable[Row], placed: _Placed, *, using: str) -> None:
    """Store the proposals that are not there and whose both pairs are; the others wait."""
    missing = {row["id"]: row for row in rows}
    for pk in _existing(Proposal, missing, using=using):
        del missing[pk]
    owners = channel.owners(Proposal)
    there = _existing(channel.model, {row[owner] for row in missing.values() for owner in owners}, using=using)
    whole = [row for row in missing.values() if all(row[owner] in there for owner in owners)]
    placed.proposals_waiting += [row for row in missing.values() if row not in whole]
    insert_records(Proposal, _mended(Proposal, whole, placed, using=using), using=using)


def _mended(table: type[models.Model], rows: Sequence[Row], placed: _Placed, *, using: str) -> list[Row]:
    """Return the rows with the links cut that lead nowhere, and without those that cannot be without them."""
    mended = [dict(row) for row in rows]
    for link in _links(table):
        wanted = {row[link.attname] for row in mended} - {None}
        there = _existing(link.related_model, wanted, using=using)
        lost = [row for row in mended if row[link.attname] is not None and row[link.attname] not in there]
        placed.cut_links += len(lost)
        if link.remote_field.on_delete is models.CASCADE:
            mended = [row for row in mended if row[link.attname] in there or row[link.attname] is None]
        else:
            for row in lost:
                row[link.attname] = None
    return mended


def _links(table: type[models.Model]) -> Iterator[models.ForeignKey[Any, Any]]:
    """Yield the links of a table to what the archive does not hold."""
    for column in table._meta.concrete_fields:
        # History names what is gone, too, and has no constraint but that on the person.
        if not isinstance(column, models.ForeignKey) or not getattr(column, "db_constraint", True):
            continue
        if not issubclass(column.related_model, TrainingPair):
            yield column


def _existing(table: Any, keys: Iterable[int], *, using: str) -> set[int]:
    found = table._default_manager.using(using).filter(pk__in=key_list(sorted(keys), using=using))
    return set(found.values_list("pk", flat=True))


def _own_tables(channel: Channel) -> list[tuple[str, type[models.Model]]]:
    """Return the tables whose rows belong to one pair alone."""
    return [(name, table) for name, table in channel.belongings.items() if table is not Proposal]


def _taken_keys(table: type[models.Model], name: str, records: Sequence[Record], *, using: str) -> set[int]:
    column = _key_column(table)
    return _existing(table, (row[column] for record in records for row in record.belongings[name]), using=using)


def _key_column(table: type[models.Model]) -> str:
    return table._meta.pk.attname


def _unique_column(channel: Channel) -> str:
    """Return the column of a pair that no two pairs share."""
    return "content_hash" if channel.model is PreferencePair else "assistant_message_id"


def _value(record: Record, column: str) -> Any:
    return stored_value(record.channel.model, column, record.pair[column])
