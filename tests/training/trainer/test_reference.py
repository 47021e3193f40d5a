"""Reference log-probabilities are computed once."""

from pathlib import Path

from tests.training.trainer.runs import config, in_order, run
from training.trainer.batches import Example
from training.trainer.packing import TokenSequence
from training.trainer.reference import ReferenceStore, pair_key


def example(*ids: int) -> Example:
    return Example("preference", 0, (TokenSequence((1, *ids), start=1), TokenSequence((1, 9), start=1)))


def test_what_was_saved_is_known_to_the_next_run(tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path, reference="base")
    store.add([example(2)], [(-1.5, -2.5)])
    store.save()
    later = ReferenceStore(tmp_path, reference="base")
    assert later.missing([example(2), example(3)]) == [1]
    assert later.filled(example(2)).references == (-1.5, -2.5)


def test_another_reference_knows_nothing_of_it(tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path, reference="base")
    store.add([example(2)], [(-1.5, -2.5)])
    store.save()
    assert ReferenceStore(tmp_path, reference="other").missing([example(2)]) == [0]


def test_a_prompt_that_ends_elsewhere_is_another_pair() -> None:
    moved = Example("preference", 0, (TokenSequence((1, 2), start=2), TokenSequence((1, 9), start=1)))
    assert pair_key(moved) != pair_key(example(2))


def test_a_second_night_computes_none_anew(tiny_model_path: str, tmp_path: Path) -> None:
    settings = config(tiny_model_path)
    first = run(settings, tmp_path, plan=in_order("preference", steps=3))
    (path,) = (tmp_path / "references").iterdir()
    written = path.stat().st_mtime_ns
    second = run(settings, tmp_path, plan=in_order("preference", steps=3))
    assert path.stat().st_mtime_ns == written
    assert second.losses("preference") == first.losses("preference")


def test_only_pairs_that_are_drawn_are_scored(tiny_model_path: str, tmp_path: Path) -> None:
    run(config(tiny_model_path), tmp_path, plan=in_order("preference", steps=2))
    (path,) = (tmp_path / "references").iterdir()
    assert path.read_text(encoding="utf-8").count("[") == 8
