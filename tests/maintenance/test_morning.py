"""The morning report says what the night did, so that a person understands it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend

from maintenance.models import Clustering, MaintenanceRun, MaintenanceStep, Proposal
from maintenance.morning import write_report
from maintenance.night import Night
from tests.maintenance import nights
from tests.memory import rows
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return replace(nights.night("report", of=nights.run(started_at=NOW), now=NOW), artifacts=tmp_path)


def step(night: Night, name: str, **fields: Any) -> MaintenanceStep:
    values = {"status": "succeeded", "seconds": 1.25, "peak_rss_mb": 120.0, **fields}
    return MaintenanceStep.objects.create(run=night.run, name=name, **values)


def page(night: Night) -> str:
    return (write_report(night) / "report.md").read_text(encoding="utf-8")


def test_the_report_lies_in_the_folder_of_the_day_with_the_same_as_json(night: Night, tmp_path: Path) -> None:
    step(night, "merge", counts={"sft_merged": 12})
    folder = write_report(night)
    assert folder == tmp_path / "maintenance" / "2026-05-01"
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    figures = json.loads((folder / "report.json").read_text())
    assert figures["steps"]["merge"]["counts"] == {"sft_merged": 12}
    night.run.refresh_from_db()
    assert night.run.report == str(folder)


def test_a_second_report_of_a_day_overwrites_nothing(night: Night) -> None:
    first, second = write_report(night), write_report(night)
    assert (first.name, second.name) == ("2026-05-01", "2026-05-01-2")
    assert (first / "report.md").exists()


def test_counts_are_told_in_words_and_nothing_is_said_of_zeros(night: Night) -> None:
    step(night, "merge", counts={"sft_merged": 1200, "proposals": 0})
    step(night, "retire", counts={"archived_age": 3, "never_heard_of": 4})
    text = page(night)
    assert "- 1,200 memory pairs merged away" in text
    assert "new proposals" not in text
    assert "- 3 pairs archived for their age\n- 4 never heard of" in text


def test_a_failure_stands_on_top_with_its_reason(night: Night) -> None:
    step(night, "merge", counts={"sft_merged": 1})
    step(night, "train", status="failed", error="no space left on <device>")
    text = page(night)
    assert "**Failed: train.**" in text.splitlines()[2]
    assert "> **train** failed: no space left on &lt;device&gt;" in text
    assert text.index("> **train**") < text.index("## Duplicates")


def test_what_a_step_skipped_is_told_with_what_it_took(night: Night) -> None:
    step(night, "train", status="skipped", error="training is off in the config")
    text = page(night)
    assert "All went well." in text
    assert "| train | skipped | 1.2 | 120 | training is off in the config |" in text


def test_the_pools_are_compared_with_the_last_report(night: Night) -> None:
    rows.sft_pair()
    write_report(night)
    rows.sft_pair(response="Rex.")
    rows.sft_pair(review_status="rejected")
    later = replace(night, run=nights.run(started_at=NOW))
    assert "| memory | 2 (+1) | 0 | 0 | 0 | 1 (+1) |" in page(later)


def test_an_earlier_report_that_is_gone_leaves_the_pools_without_comparison(night: Night) -> None:
    rows.sft_pair()
    MaintenanceRun.objects.filter(pk=night.run.pk).update(report="/no/such/folder")
    later = replace(night, run=nights.run(started_at=NOW))
    assert "| memory | 1 | 0 | 0 | 0 | 0 |" in page(later)


def test_what_waits_for_a_person_is_counted(night: Night) -> None:
    pair, other = rows.sft_pair(), rows.sft_pair()
    rows.preference_pair(review_status="approved")
    for status in ("open", "dismissed"):
        one = rows.sft_pair(review_status="approved")
        Proposal.objects.create(
            kind="correction", sft_pair=one, other_sft_pair=pair, similarity=0.95, reason="names", status=status
        )
    assert other.review_status == "pending"
    assert "1 open proposals, 2 memory pairs and 0 preference pairs to review" in page(night)


def test_topics_tell_how_coverage_moved(night: Night) -> None:
    for coverage, drift in ((0.5, None), (0.75, 0.031)):
        Clustering.objects.create(embedder="a", k=4, pairs=9, coverage=coverage, drift=drift, centroids=b"")
    step(night, "recluster", counts={"clusters": 4})
    assert "75% of the clusters hold an unused pair (before: 50%); 3.1% of the pairs changed" in page(night)


def test_training_is_told_before_and_after(night: Night) -> None:
    measured = {"recall_before": 0.0, "recall_after": 0.9375, "preference_accuracy_before": 0.5, "drift_ratio": -0.021}
    run = TrainingRun.objects.create(config_path="a", config={}, steps=280, evaluation=measured)
    step(night, "train", details={"run": run.pk})
    text = page(night)
    assert f"Run {run.pk}, 280 steps." in text
    assert "| recall | 0% | 94% |" in text
    assert "| preference accuracy | 50% | - |" in text
    assert "| drift, median token |  | -2.1% |" in text


def test_examples_are_shown_as_they_are_and_no_more_than_asked_for(night: Night) -> None:
    examples = [
        {"kind": "merged", "about": f"{number} into 9, cosine 0.97", "texts": ["What is my *dog* <b>?", "Pixel | Rex"]}
        for number in range(8)
    ]
    step(night, "merge", details={"examples": examples})
    text = page(night)
    assert text.count("into 9, cosine") == night.config.report.examples == 5
    assert "  - What is my \\*dog\\* &lt;b&gt;?" in text
    assert "### Merged" in text


def test_a_step_that_failed_halfway_still_tells_what_it_did(night: Night) -> None:
    step(night, "housekeeping", status="failed", error="backup: no space", counts={"backups": 0, "reports_removed": 2})
    step(night, "merge", status="failed", error="no memory", counts={})
    text = page(night)
    assert "- 2 old morning reports removed" in text
    assert "## Duplicates" not in text


def test_a_comparison_that_was_not_passed_says_why_and_what_is_active(night: Night) -> None:
    check = {"name": "drift", "passed": False, "line": "drift +9.0 %, allowed at most 5 %"}
    good = {"name": "recall", "passed": True, "line": "recall 0.9"}
    run = {"run": 7, "passed": False, "note": "run-6 is active again", "checks": [check, good], "error": ""}
    step(night, "evaluate", counts={"evaluated": 1}, details={"runs": [run]})
    text = page(night)
    assert "Run 7 did not pass: run-6 is active again." in text
    assert "- drift +9.0 %, allowed at most 5 %" in text
    assert "recall 0.9" not in text


def test_how_to_undo_the_night_is_said(night: Night) -> None:
    assert f"`manage.py undo_maintenance {night.run.pk}`" in page(night)


def mailed(night: Night) -> Night:
    return replace(night, config=night.config.model_validate({"report": {"email_to": ["maren@example.org"]}}))


def test_the_report_is_mailed_to_whom_the_config_names(night: Night) -> None:
    step(night, "train", status="failed", error="no space")
    rows.sft_pair()
    folder = write_report(mailed(night))
    (message,) = mail.outbox
    assert message.to == ["maren@example.org"]
    assert message.subject == f"Night {night.run.pk}: train failed, 1 pairs unused, 0 proposals"
    assert message.body == (folder / "report.md").read_text()


def test_nobody_is_mailed_by_default(night: Night) -> None:
    write_report(night)
    assert mail.outbox == []


def test_a_mail_that_cannot_be_sent_leaves_the_report_on_record(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise ConnectionRefusedError("no mail server")

    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    with pytest.raises(OSError, match="no mail server"):
        write_report(mailed(night))
    night.run.refresh_from_db()
    assert (Path(night.run.report) / "report.md").exists()
