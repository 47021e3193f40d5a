"""The whole product on the shipped example, with the real model and the real embedder."""

import json
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from memory.models import Conversation, PreferencePair, SftPair
from tests.training import runs
from tests.training.rows import preference_pairs, sft_pairs
from training.artifacts import write_config
from training.demo import CONFIG, run_demo
from training.preparation import Places

pytestmark = pytest.mark.django_db

PROBES = {
    "facts": [
        {
            "id": "dog",
            "kind": "assistant_said",
            "expected": [["Pixel"]],
            "questions": ["what is my dog called", "who is Pixel"],
        }
    ]
}


def test_the_demonstration_sums_up_its_run(tiny_model_path: str, tmp_path: Path) -> None:
    sft_pairs(10)
    preference_pairs(8)
    settings = runs.config(tiny_model_path, max_steps=2, evaluation={"validation_share": 0, "probes_path": "p.json"})
    write_config(tmp_path / "lora_demo.yaml", settings)
    (tmp_path / CONFIG.parent).mkdir(parents=True)
    (tmp_path / "lora_demo.yaml").rename(tmp_path / CONFIG)
    (tmp_path / "p.json").write_text(json.dumps(PROBES))
    places = Places(project=tmp_path, artifacts=tmp_path / "artifacts")
    shown = run_demo(places=places, started=time.monotonic() - 100, say=lambda line: None)
    assert json.loads(shown.summary_path.read_text()) == shown.summary
    assert (shown.summary["recall_before"], shown.summary["recall_after"]) == (0, 0)
    assert shown.summary["adapter"] == shown.run.adapter
    assert shown.summary["seconds"] > 100
    assert [(side.fact, side.question, side.right_after) for side in shown.answers] == [
        ("dog", "what is my dog called", False),
        ("dog", "who is Pixel", False),
    ]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_model_remembers_what_it_was_told(settings: Settings, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    out = StringIO()
    call_command("demo", stdout=out)
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["recall_before"] <= 0.05
    # docs/benchmarks.md has the measured figure; the processor's rounding moves it by a few questions.
    assert summary["recall_after"] >= 0.7
    assert summary["preference_accuracy_after"] >= summary["preference_accuracy_before"]
    assert summary["preference_accuracy_after"] >= 0.85
    assert summary["drift_ratio"] < 0.1
    assert (Path(summary["adapter"]) / "adapter_model.safetensors").is_file()
    answers = json.loads((Path(summary["adapter"]) / "evaluation.json").read_text())["answers"]
    corrected = [answer for answer in answers if answer["fact"] in {"dentist", "trip"}]
    assert len(corrected) == 6
    assert sum(answer["right_after"] for answer in corrected) >= 4
    assert "recall of what the assistant has said" in out.getvalue()
    assert SftPair.objects.used().count() > 200
    assert PreferencePair.objects.used().count() > 30


@pytest.mark.slow
def test_the_demo_conversations_are_imported_and_extracted_once() -> None:
    for _ in range(2):
        call_command("import_conversations", "memory/demo/conversations.jsonl", stdout=StringIO())
        out = StringIO()
        call_command("extract_sft_pairs", "--all", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["created"] == report["preference_pairs_created"] == 0
    assert report["existing"] == SftPair.objects.count() > 300
    assert Conversation.objects.count() >= 60
    assert PreferencePair.objects.count() >= 40
