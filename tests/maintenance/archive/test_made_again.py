"""What lies in an archive file is made by nobody a second time, until it is back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from maintenance.archive.restoring import restore_files
from maintenance.models import ArchiveFile
from memory.importing.run import import_paths
from memory.models import ExportedPair, PreferencePair, SftPair
from tests.maintenance.archive import stock
from tests.memory.embedders import FakeEmbedder
from tests.memory.extraction.talks import answer, asked, rate, run, think
from tests.memory.importers.test_legacy import SCHEMA, database

pytestmark = pytest.mark.django_db


def export_all(folder: Path) -> None:
    """Move all pairs into a file."""
    for model in (SftPair, PreferencePair):
        model._default_manager.update(archived_at=stock.LONG_AGO)
    stock.exported(folder)
    assert stock.in_database() == set()


def drafts() -> None:
    user = asked()
    answer(user, "Pixel.")
    answer(user, "pixel.  ")


def drafts_alike() -> None:
    user = asked()
    for text in ("Pixel is my dog.", "My dog is Pixel."):
        answer(user, text)


def rated_drafts() -> None:
    user = asked()
    rate(user, "Pixel.", 1.0)
    rate(user, "Biscuit.", 0.0)


def two_days() -> None:
    rate(asked("Tell me a joke."), "A good one.", 1.0)
    rate(asked("Tell me a joke.", name="c2"), "A bad one.", 0.0)


def equal_thoughts() -> None:
    think(asked(), "They have a dog.")
    think(asked("Hello.", name="c2"), "they have  a DOG.")


@pytest.mark.parametrize("talk", [drafts, drafts_alike, rated_drafts, two_days, equal_thoughts])
def test_an_extraction_makes_none_again(talk: Callable[[], None], tmp_path: Path) -> None:
    talk()
    embedder = FakeEmbedder({"Pixel is my dog.": 0, "My dog is Pixel.": 5})
    first = run(embedder, include_introspection=True)
    assert first.created + first.preference_pairs_created > 0
    before = stock.dump()
    export_all(tmp_path)
    for skip_existing in (True, False):
        again = run(embedder, include_introspection=True, skip_existing=skip_existing)
        assert (again.created, again.preference_pairs_created) == (0, 0)
        assert again.existing == first.created
    assert stock.in_database() == set()
    restore_files(list(ArchiveFile.objects.all()), artifacts=tmp_path, using="default")
    run(embedder, include_introspection=True)
    assert [len(rows) for rows in stock.dump()] == [len(rows) for rows in before]


def test_an_extraction_makes_what_is_new_beside_it(tmp_path: Path) -> None:
    user = asked()
    answer(user, "Pixel.")
    run()
    export_all(tmp_path)
    answer(user, "I do not know any dog of yours.")
    run(FakeEmbedder())
    assert SftPair.objects.get().response == "I do not know any dog of yours."


def test_an_import_stores_none_again(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{"prompt": "Say hello.", "chosen": "Hello.", "rejected": "What a day to say hello!"}]))
    assert import_paths([path]).counts.preference_pairs == 1
    export_all(tmp_path)
    counts = import_paths([path]).counts
    assert (counts.preference_pairs, counts.already_present) == (0, 1)
    ExportedPair.objects.update(restored_at=stock.NOW)
    assert import_paths([path]).counts.preference_pairs == 1


def test_an_import_of_an_older_database_stores_none_again(tmp_path: Path) -> None:
    path = database(tmp_path / "old.db", SCHEMA, {"instruction": "Who am I?", "response": "Mara."})
    assert import_paths([path]).counts.sft_pairs == 1
    export_all(tmp_path)
    counts = import_paths([path]).counts
    assert (counts.sft_pairs, counts.already_present) == (0, 1)
