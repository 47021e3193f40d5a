"""Memory pairs as a file for training elsewhere."""

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memory.extraction.export import export_jsonl
from memory.extraction.request import Selection
from memory.models import SftPair
from tests.memory.extraction.talks import answer, asked, run, say

pytestmark = pytest.mark.django_db


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_a_prompt_with_its_completion_as_messages(tmp_path: Path) -> None:
    first = asked("Grüß dich.")
    answer(say(first.conversation, "user", "My dog?", answer(first, "Hi!")), "Pixel.")
    run(include_context=True)

    assert export_jsonl(Selection(), tmp_path / "pairs.jsonl") == 2
    greeting, reply = {"role": "user", "content": "Grüß dich."}, {"role": "assistant", "content": "Hi!"}
    assert lines(tmp_path / "pairs.jsonl") == [
        {"prompt": [greeting], "completion": [reply]},
        {
            "prompt": [greeting, reply, {"role": "user", "content": "My dog?"}],
            "completion": [{"role": "assistant", "content": "Pixel."}],
        },
    ]


@pytest.mark.parametrize("fields", [{"review_status": "rejected"}, {"sampling_weight": 0.0}, {"reward_intensity": 0.0}])
def test_what_may_not_be_trained_is_not_exported(tmp_path: Path, fields: dict[str, Any]) -> None:
    answer(asked(), "Pixel.")
    run()
    SftPair.objects.update(**fields)

    assert export_jsonl(Selection(), tmp_path / "pairs.jsonl") == 0
    assert (tmp_path / "pairs.jsonl").read_text() == ""


def test_only_the_selection_is_exported(tmp_path: Path) -> None:
    answer(asked(), "Pixel.")
    wanted = answer(asked(name="c2"), "Biscuit.", created_at=SftPair().created_at + timedelta(days=1))
    run()

    for selection in (Selection(conversation_id=wanted.conversation_id), Selection(since=wanted.created_at)):
        assert export_jsonl(selection, tmp_path / "pairs.jsonl") == 1
        assert lines(tmp_path / "pairs.jsonl")[0]["completion"][0]["content"] == "Biscuit."


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    answer(asked(), "Pixel.")
    run()
    (tmp_path / "pairs.jsonl").mkdir()

    with pytest.raises(OSError, match=r"pairs\.jsonl"):
        export_jsonl(Selection(), tmp_path / "pairs.jsonl")

    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    export_jsonl(Selection(), tmp_path / "pairs.jsonl")

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
