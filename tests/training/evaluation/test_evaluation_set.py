"""The evaluation set comes from the files that the config names; a bad one is named."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.training.records import preference_record, sft_record
from training.config import TrainingConfig
from training.evaluation.evaluation_set import EvaluationSet, load_evaluation_set

CHAT = {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}


def loaded(base_dir: Path, **evaluation: Any) -> EvaluationSet:
    config = TrainingConfig.model_validate({"model_name_or_path": "any", "evaluation": evaluation})
    return load_evaluation_set(config, base_dir=base_dir, sft=(sft_record(1),), preference=(preference_record(2),))


def test_files_are_read_from_the_base_folder(tmp_path: Path) -> None:
    fact = {"id": "dog", "kind": "corrected", "expected": ["Pixel"], "questions": ["a", "b"]}
    (tmp_path / "probes.json").write_text(json.dumps({"facts": [fact]}), encoding="utf-8")
    (tmp_path / "text.json").write_text(json.dumps({"drift": [CHAT], "retention": [CHAT, CHAT]}), encoding="utf-8")
    given = loaded(tmp_path, probes_path="probes.json", general_text_path="text.json", max_new_tokens=7)
    assert [probe.question for probe in given.probes] == ["a", "b"]
    assert given.general_text == ((CHAT["prompt"], CHAT["completion"]),)
    assert given.max_new_tokens == 7
    assert (given.sft, given.preference) == ((sft_record(1),), (preference_record(2),))


def test_without_files_there_are_no_probes_and_no_text(tmp_path: Path) -> None:
    given = loaded(tmp_path)
    assert given.probes == ()
    assert given.general_text == ()


@pytest.mark.parametrize("content", [None, "{", "{}", '{"drift": [{"prompt": []}]}', '{"drift": 3}', "[]"])
def test_a_text_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "text.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"text\.json: no list 'drift' of prompt and completion can be read from it: "):
        loaded(tmp_path, general_text_path="text.json")


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"facts": [3]}'])
def test_a_probe_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "probes.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"probes\.json: [^\n]+$"):
        loaded(tmp_path, probes_path="probes.json")


def test_of_many_held_out_pairs_the_same_few_are_measured_as_more_come_in() -> None:
    config = TrainingConfig.model_validate({"model_name_or_path": "any", "evaluation": {"max_held_out": 3}})
    measured: list[set[str]] = []
    for count in range(1, 30):
        memory = tuple(sft_record(number) for number in range(count))
        reward = tuple(preference_record(number) for number in range(count))
        given = load_evaluation_set(config, base_dir=Path(), sft=memory, preference=reward)
        assert len(given.sft) == len(given.preference) == min(count, 3)
        assert list(given.sft) == [record for record in memory if record in given.sft]
        measured.append({record.content_hash for record in given.sft})
    for number, (before, after) in enumerate(pairwise(measured), start=1):
        assert after - before <= {sft_record(number).content_hash}
    assert measured[3] != measured[-1]
