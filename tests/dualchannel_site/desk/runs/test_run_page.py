"""The page of a run: curves, figures, pairs that did not stick, answers, and what went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from dualchannel_site.desk.runs import answers
from memory.models import SftPair
from tests.dualchannel_site.desk.dashboard.people import person
from tests.memory import rows
from training.models import TrainingRun

pytestmark = pytest.mark.django_db

ATTACK = "<script>alert('x')</script>"
EVALUATION: dict[str, Any] = {
    "recall_before": 0.0,
    "recall_after": 0.875,
    "sft_loss_before": 3.226,
    "sft_loss_after": None,
    "drift_ratio": -0.0657,
}
METRICS: dict[str, Any] = {
    "sft": {"loss_first": 3.25, "loss_last": 0.143, "batches": 96, "pairs_used": 1255},
    "preference": {"loss_first": None, "loss_last": None, "batches": 0, "pairs_used": 0},
    "tokens_per_second": 198.6,
    "seconds": 499.8,
    "stopped_early": "plateau",
    "steps": [{"step": 1, "secret": "in no page"}],
}


@pytest.fixture
def artifacts(tmp_path: Path, settings: Settings) -> Path:
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path


def trained(
    artifacts: Path, *, said: list[dict[str, Any]] | None = None, unlearned: dict[str, Any] | None = None
) -> TrainingRun:
    """Store a successful run with its folder."""
    folder = artifacts / "lora" / "run-1"
    folder.mkdir(parents=True)
    lines = [{"step": step, "trained": ["sft"], "sft/loss": 3.0 / step} for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (folder / "evaluation.json").write_text(json.dumps({**EVALUATION, "answers": said or []}))
    evaluation = {**EVALUATION, "did_not_stick": unlearned or {"sft": [], "preference": []}}
    return TrainingRun.objects.create(
        config_path="x.yaml",
        config={"seed": 7},
        status="succeeded",
        metrics=METRICS,
        evaluation=evaluation,
        adapter=str(folder),
    )


def answer(question: str, before: str, after: str, *, was_right: bool, is_right: bool) -> dict[str, Any]:
    return {
        "fact": "dog",
        "question": question,
        "before": before,
        "after": after,
        "right_before": was_right,
        "right_after": is_right,
    }


def page_of(run: TrainingRun) -> str:
    return reverse("admin:training_trainingrun_change", args=[run.pk])


def shown(client: Client, run: TrainingRun) -> str:
    response = client.get(page_of(run))
    assert response.status_code == 200
    return response.content.decode()


def test_the_figures_are_those_of_the_run(admin_client: Client, artifacts: Path) -> None:
    page = shown(admin_client, trained(artifacts))
    for cells in (
        ("recall of what the assistant has said", "0%", "88%"),
        ("memory loss, held-out pairs, mean token", "3.226", "-"),
        ("memory", "3.250", "0.143", "96", "1,255"),
        ("preference", "-", "-", "0", "0"),
    ):
        head, *rest = cells
        row = f'<th scope="row">{head}</th>' + "".join(f'<td class="desk-number">{cell}</td>' for cell in rest)
        assert row in page
    for name, value in (("drift, median token", "-6.6%"), ("time", "500 s"), ("ended early", "plateau")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


def test_the_steps_stay_in_the_database(admin_client: Client, artifacts: Path) -> None:
    assert "in no page" not in shown(admin_client, trained(artifacts))


def test_the_curves_are_drawn_with_their_words(admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts)
    page = shown(admin_client, run)
    assert page.count("<canvas") == 1
    assert 'aria-label="Loss over 3 steps. memory: from 3.000 to 1.000' in page
    ledger = f"{reverse('admin:training_pairuse_changelist')}?run__id__exact={run.pk}"
    assert f'<a href="{ledger}" class="text-link">The pairs of each step</a>' in page


def test_lines_that_cannot_be_read_are_counted(admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts)
    with (Path(run.adapter) / "metrics.jsonl").open("a") as file:
        file.write("{broken\n")
    assert "1 line of the file of metrics cannot be read" in shown(admin_client, run)


def test_a_run_without_its_folder_says_so_in_one_line(admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts)
    for path in Path(run.adapter).iterdir():
        path.unlink()
    page = shown(admin_client, run)
    assert f"metrics.jsonl of run {run.pk} is gone, or cannot be read" in page
    assert "<canvas" not in page
    assert "Answers before and after" not in page


def test_a_folder_outside_of_the_artifacts_is_not_read(admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts, said=[answer("Secret?", "a", "b", was_right=False, is_right=True)])
    elsewhere = artifacts / "other"
    elsewhere.mkdir()
    from django.conf import settings

    settings.ARTIFACTS_DIR = elsewhere
    page = shown(admin_client, run)
    assert "allowed a folder under" in page
    assert "Secret?" not in page


def test_the_pairs_that_did_not_stick_are_linked(admin_client: Client, artifacts: Path) -> None:
    pair, gone = rows.sft_pair(instruction="What is my cat called?"), 4242
    reward = rows.preference_pair(chosen="Plainly.")
    run = trained(artifacts, unlearned={"sft": [pair.pk, gone], "preference": [reward.pk]})
    page = shown(admin_client, run)
    address = reverse("admin:memory_sftpair_change", args=[pair.pk])
    assert f'<a href="{address}" class="text-link">{pair.pk}</a> What is my cat called?' in page
    assert reverse("admin:memory_preferencepair_change", args=[reward.pk]) in page
    assert reverse("admin:memory_sftpair_change", args=[gone]) not in page
    assert "memory channel: 2" in page


def test_of_many_pairs_the_first_are_shown(admin_client: Client, artifacts: Path) -> None:
    pairs = [rows.sft_pair() for _ in range(23)]
    run = trained(artifacts, unlearned={"sft": [pair.pk for pair in pairs], "preference": []})
    page = shown(admin_client, run)
    assert reverse("admin:memory_sftpair_change", args=[pairs[19].pk]) in page
    assert reverse("admin:memory_sftpair_change", args=[pairs[20].pk]) not in page
    assert "The first 20; the review queue has such pairs on top." in page


def test_who_may_not_see_pairs_sees_their_numbers_alone(client: Client, artifacts: Path) -> None:
    person(client, "training.view_trainingrun")
    pair = rows.sft_pair(instruction="What is my cat called?")
    page = shown(client, trained(artifacts, unlearned={"sft": [pair.pk], "preference": []}))
    assert "What is my cat called?" not in page
    assert reverse("admin:memory_sftpair_change", args=[pair.pk]) not in page
    assert "memory channel: 1" in page


def test_the_answers_stand_beside_each_other_the_most_telling_first(admin_client: Client, artifacts: Path) -> None:
    said = [
        answer("Same?", "no", "no", was_right=False, is_right=False),
        answer("Won?", "no", "yes", was_right=False, is_right=True),
        answer("Lost?", "yes", "no", was_right=True, is_right=False),
        answer("Kept?", "yes", "yes", was_right=True, is_right=True),
    ]
    page = shown(admin_client, trained(artifacts, said=said))
    assert "Of 4 answers 1 became right and 1 became wrong; 4 are shown" in page
    places = [page.index(question) for question in ("Lost?", "Won?", "Same?", "Kept?")]
    assert places == sorted(places)


def test_no_more_answers_are_shown_than_a_person_reads(
    admin_client: Client, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SHOWN_ANSWERS", 2)
    said = [answer(f"Number {n}?", "no", "yes", was_right=False, is_right=True) for n in range(5)]
    page = shown(admin_client, trained(artifacts, said=said))
    assert "Of 5 answers 5 became right and 0 became wrong; 2 are shown" in page
    assert "Number 2?" not in page


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"answers": 3}', '{"answers": [{}]}', '{"answers": ["x"]}'])
def test_answers_that_cannot_be_read_are_none(text: str, admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts)
    (Path(run.adapter) / "evaluation.json").write_text(text)
    assert "Answers before and after" not in shown(admin_client, run)


def test_texts_of_others_are_shown_as_texts(admin_client: Client, artifacts: Path) -> None:
    pair = rows.sft_pair(instruction=ATTACK)
    said = [answer(ATTACK, ATTACK, f"{ATTACK}!", was_right=False, is_right=True)]
    run = trained(artifacts, said=said, unlearned={"sft": [pair.pk], "preference": []})
    TrainingRun.objects.filter(pk=run.pk).update(
        metrics={**METRICS, "stopped_early": ATTACK}, error=ATTACK, traceback=ATTACK, exception_class=ATTACK
    )
    page = shown(admin_client, run)
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 8


@pytest.mark.parametrize(
    "evaluation",
    [[], {"did_not_stick": [1]}, {"did_not_stick": {"sft": "all"}}, {"recall_before": "high", "recall_after": True}],
)
def test_an_evaluation_of_another_version_is_no_failure(evaluation: Any, admin_client: Client, artifacts: Path) -> None:
    run = trained(artifacts)
    TrainingRun.objects.filter(pk=run.pk).update(evaluation=evaluation, metrics={"sft": [], "seconds": "long"})
    shown(admin_client, run)


def test_a_run_that_has_just_begun_has_a_page(admin_client: Client, artifacts: Path) -> None:
    run = TrainingRun.objects.create(config_path="x", config={"output_dir": "lora"})
    page = shown(admin_client, run)
    assert "The run left no metrics behind." in page
    assert "Why it ended" not in page


@pytest.mark.parametrize("count", [1, 15])
def test_the_page_takes_as_many_queries_for_few_pairs_as_for_many(
    count: int, admin_client: Client, artifacts: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    keys = [rows.sft_pair().pk for _ in range(count)]
    run = trained(artifacts, unlearned={"sft": keys, "preference": [1]})
    shown(admin_client, run)
    # Session, user and the run; its figures, and the pairs of both channels.
    with django_assert_num_queries(6):
        shown(admin_client, run)
    assert SftPair.objects.count() == count


def test_nobody_is_sent_to_the_login(client: Client, artifacts: Path) -> None:
    assert client.get(page_of(trained(artifacts))).status_code == 302


def test_who_may_not_see_runs_is_refused(client: Client, artifacts: Path) -> None:
    person(client, "memory.view_sftpair")
    assert client.get(page_of(trained(artifacts))).status_code == 403
