"""The whole product on the shipped example, with the real model and the real embedder."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django.fixtures import Settings

from memory.models import Conversation, PreferencePair, SftPair

pytestmark = [pytest.mark.slow, pytest.mark.django_db, pytest.mark.timeout(2400)]


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
