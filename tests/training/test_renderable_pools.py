"""Pairs that the base model's chat template refuses are skipped and named; where it refuses all, so is the run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.records import preference_record, sft_record
from tests.training.rows import preference_pairs
from tests.training.runs import config, started
from tests.training.tiny_model import CHAT_TEMPLATE
from training.models import TrainingRun
from training.renderable_pools import renderable_pools
from training.selection import NotEnoughPairs, Pool, Pools

SYSTEM = {"role": "system", "content": "You are plain."}
# As the templates of Gemma and Mistral begin.
STRICT = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% endfor %}"
) + CHAT_TEMPLATE


@pytest.fixture(scope="module")
def strict_model(tiny_model_path: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("strict")
    AutoModelForCausalLM.from_pretrained(tiny_model_path).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
    tokenizer.chat_template = STRICT
    tokenizer.save_pretrained(folder)
    return str(folder)


def with_system(record: Any) -> Any:
    return replace(record, prompt=(SYSTEM, *record.prompt))


def twice(record: Any) -> Any:
    return replace(record, prompt=(*record.prompt, *record.prompt))


def rendered(model_path: str, tmp_path: Path, pools: Pools, **changes: Any) -> Pools:
    return renderable_pools(pools, config(model_path, **changes), models_dir=tmp_path)


def test_refused_pairs_are_left_out_counted_and_named(strict_model: str, tmp_path: Path) -> None:
    memory = [sft_record(number) for number in range(12)]
    memory[2:9] = [with_system(record) for record in memory[2:9]]
    rewards = [preference_record(number) for number in range(5)]
    rewards[3] = twice(rewards[3])
    found = rendered(
        strict_model, tmp_path, Pools(Pool(tuple(memory), (with_system(sft_record(99)),)), Pool(tuple(rewards), ()))
    )
    assert [record.id for record in found.sft.train] == [0, 1, 9, 10, 11]
    assert found.sft.held_out == ()
    assert [record.id for record in found.preference.train] == [0, 1, 2, 4]
    assert [str(skipped) for skipped in (*found.sft.skipped, *found.preference.skipped)] == [
        "7 memory pairs that the base model's chat template refuses (System role not supported): "
        "2, 3, 4, 5, 6 and 2 more",
        "1 held-out memory pairs that the base model's chat template refuses (System role not supported): 99",
        "1 preference pairs that the base model's chat template refuses (Conversation roles must alternate "
        "user/assistant/user/assistant/...): 3",
    ]


def test_a_template_that_refuses_nothing_leaves_the_pools_as_they_are(tiny_model_path: str, tmp_path: Path) -> None:
    pools = Pools(Pool((with_system(sft_record(1)),), ()), Pool((twice(preference_record(1)),), (), ("a bad line",)))
    assert rendered(tiny_model_path, tmp_path, pools, min_sft_pairs=1, min_preference_pairs=1) == pools


def test_a_channel_that_is_refused_whole_is_one_clear_line(strict_model: str, tmp_path: Path) -> None:
    memory = tuple(with_system(sft_record(number)) for number in range(6))
    rewards = tuple(preference_record(number) for number in range(6))
    with pytest.raises(
        NotEnoughPairs,
        match=r"^model_name_or_path: the chat template of [^\n]*strict\d refuses all 6 memory pairs: "
        r"System role not supported$",
    ):
        rendered(strict_model, tmp_path, Pools(Pool(memory, ()), Pool(rewards, ())))


def test_too_few_that_are_left_are_too_few(strict_model: str, tmp_path: Path) -> None:
    memory = (*(with_system(sft_record(number)) for number in range(6)), sft_record(6))
    pools = Pools(Pool(memory, ()), Pool(tuple(preference_record(number) for number in range(6)), ()))
    named = (
        r"; skipped were 6 memory pairs that the base model's chat template refuses \(System role not supported\): "
        r"0, 1, 2, 3, 4 and 1 more$"
    )
    with pytest.raises(
        NotEnoughPairs, match=rf"^the memory channel has 1 pairs to train .*, allowed 4 or more .*{named}"
    ):
        rendered(strict_model, tmp_path, pools)
    neither = {"allow_one_channel": True, "min_preference_pairs": 7}
    with pytest.raises(NotEnoughPairs, match=rf"^no channel has enough pairs to train, .*{named}"):
        rendered(strict_model, tmp_path, pools, **neither)
    found = rendered(strict_model, tmp_path, pools, allow_one_channel=True)
    assert (len(found.sft.train), len(found.preference.train)) == (0, 6)


@pytest.mark.django_db
def test_a_run_trains_what_is_left_and_says_what_is_not(strict_model: str, tmp_path: Path, settings: Settings) -> None:
    settings.DATA_DIR = tmp_path
    preference_pairs(8)
    lines = [
        {"messages": [*[SYSTEM] * (number == 3), {"role": "user", "content": f"my dog {number}"}]}
        for number in range(12)
    ]
    for line in lines:
        line["messages"].append({"role": "assistant", "content": "is called Pixel"})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = {"drift": [{"prompt": [SYSTEM, *line["messages"][:1]], "completion": []} for line in lines[:1]]}
    (tmp_path / "general.json").write_text(json.dumps(texts))
    evaluation = {"validation_share": 0.0, "general_text_path": "general.json"}
    said: list[str] = []
    run = started(config(strict_model, sft_jsonl="pairs.jsonl", evaluation=evaluation), tmp_path, said=said)
    assert said[0] == (
        "skipped 1 memory pairs that the base model's chat template refuses (System role not supported): 'my dog 3'"
    )
    assert said[1].startswith(f"run {run.pk}: 11 memory pairs and 8 preference pairs, ")
    assert (run.status, run.metrics["sft"]["pairs_used"]) == (TrainingRun.Status.SUCCEEDED, 11)
    assert run.evaluation["general_loss_after"] is None
