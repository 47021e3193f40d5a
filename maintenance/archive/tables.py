"""Archive files, and what restoring them came to, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Column, Table

from maintenance.archive.listing import ListedFile
from maintenance.archive.restoring import RestoreReport

# Pairs that could not be restored, of which the terminal tells.
_SHOWN = 20


def file_tables(files: Sequence[ListedFile]) -> Iterator[RenderableType | str]:
    """Yield the parts of a list of archive files."""
    if not files:
        yield "There are no archive files."
        return
    table = Table(
        # A name that is cut cannot be copied.
        Column("file", no_wrap=True, overflow="ignore"),
        Column("memory", justify="right"),
        Column("preference", justify="right"),
        Column("back", justify="right"),
        "state",
    )
    for each in files:
        table.add_row(
            each.file,
            f"{each.sft_pairs:,}",
            f"{each.preference_pairs:,}",
            f"{each.back:,}",
            each.state,
        )
    yield table


def restore_tables(reports: Sequence[RestoreReport], *, dry_run: bool) -> Iterator[RenderableType | str]:
    """Yield the parts of what restoring came to; of many pairs that could not come back, the first ones."""
    if dry_run:
        yield "Dry run: nothing was changed."
    numbers = ("memory", "preference", "there already", "refused")
    table = Table(Column("file", no_wrap=True, overflow="ignore"), *(Column(name, justify="right") for name in numbers))
    for report in reports:
        counts = (
            report.restored["sft"],
            report.restored["preference"],
            sum(report.present.values()),
            len(report.refused),
        )
        table.add_row(report.file, *(f"{count:,}" for count in counts))
    yield table
    refused = [each for report in reports for each in report.refused]
    for each in refused[:_SHOWN]:
        yield f"Not restored: {each.channel}:{each.pair}: {each.reason}"
    if len(refused) > _SHOWN:
        yield f"… and {len(refused) - _SHOWN:,} more; --json lists them all."
    if waiting := sum(report.proposals_waiting for report in reports):
        yield f"{waiting:,} proposals wait for their other pair; restore that one, then this file again."
    if cut := sum(report.cut_links for report in reports):
        yield f"{cut:,} links to what has been deleted since were cut."
    if any(sum(report.restored.values()) for report in reports):
        yield "The pairs are archived still: take them out of the archive in the admin to train them again."
