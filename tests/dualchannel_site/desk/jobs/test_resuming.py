"""A run that was stopped is offered, and goes on."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import DEAD_AFTER
from training.artifacts import write_json
from training.lock import folder_lock
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def stopped(configs: Path) -> TrainingRun:
    """A run of `small.yaml` that was stopped, with the claim that it left in the folder."""
    run = TrainingRun.objects.create(config_path="small.yaml", config={}, status="interrupted", steps=7)
    work = configs.parent / "artifacts" / "lora" / "desk" / ".work"
    write_json(work / "run.json", {"run": run.pk, "name": run.folder_name})
    return run


def began(run: TrainingRun | None) -> Job:
    options = {"config": "small.yaml", "overrides": []}
    return Job.objects.create(kind=Job.Kind.TRAINING, status=Job.Status.INTERRUPTED, options=options, training_run=run)


def test_the_start_page_offers_to_resume_it(desk: Client, stopped: TrainingRun) -> None:
    page = desk.get(reverse("desk:plan-training")).content.decode()
    assert f"Run {stopped.pk} of small.yaml, interrupted at step 7" in page
    desk.post(reverse("desk:resume-config"), {"config": "small.yaml"})
    job = Job.objects.get()
    assert (job.kind, job.options) == ("training", {"config": "small.yaml", "overrides": [], "resume": True})


def test_so_does_the_page_of_the_job_that_began_it(desk: Client, stopped: TrainingRun) -> None:
    job = began(stopped)
    assert "Resume the run" in desk.get(reverse("desk:job", args=[job.pk])).content.decode()
    desk.post(reverse("desk:resume-training", args=[job.pk]))
    assert Job.objects.exclude(pk=job.pk).get().options["resume"] is True


def test_so_does_the_page_of_a_job_that_died_with_its_machine(desk: Client, stopped: TrainingRun) -> None:
    TrainingRun.objects.update(status="running")
    job = began(stopped)
    old = timezone.now() - 2 * DEAD_AFTER
    Job.objects.update(status="running", started_at=old, heartbeat_at=old)
    assert "Resume the run" in desk.get(reverse("desk:job", args=[job.pk])).content.decode()
    assert (
        f"Run {stopped.pk} of small.yaml, ended without a word at"
        in desk.get(reverse("desk:plan-training")).content.decode()
    )
    desk.post(reverse("desk:resume-training", args=[job.pk]))
    assert [row.status for row in Job.objects.order_by("pk")] == ["interrupted", "queued"]


def test_a_run_that_somebody_trains_is_not_offered_and_not_resumed(
    desk: Client, stopped: TrainingRun, configs: Path
) -> None:
    job = began(stopped)
    TrainingRun.objects.update(status="running")
    with folder_lock(configs.parent / "artifacts" / "lora" / "desk"):
        for page in (reverse("desk:plan-training"), reverse("desk:job", args=[job.pk])):
            assert "Resume" not in desk.get(page).content.decode()
        answer = desk.post(reverse("desk:resume-config"), {"config": "small.yaml"})
    assert answer.status_code == 409
    assert "or one trains in its folder" in answer.content.decode()
    assert Job.objects.get() == job


@pytest.mark.parametrize("other", ["another.yaml", "zebra.yaml"])
def test_a_run_is_offered_once_by_the_config_it_began_with(
    desk: Client, stopped: TrainingRun, configs: Path, other: str
) -> None:
    (configs / other).write_text((configs / "small.yaml").read_text())
    assert desk.get(reverse("desk:plan-training")).context["stopped"] == [("small.yaml", stopped)]


def test_remains_of_a_run_keep_the_start_page_from_nothing(desk: Client, stopped: TrainingRun, configs: Path) -> None:
    """As a kill leaves them while the state of a run is removed."""
    (configs.parent / "artifacts" / "lora" / "desk" / ".work" / "run.json").unlink()
    assert "Resume" not in desk.get(reverse("desk:plan-training")).content.decode()


def test_a_run_that_has_ended_is_not_offered_and_not_resumed(desk: Client, stopped: TrainingRun) -> None:
    job = began(stopped)
    TrainingRun.objects.update(status="failed")
    assert "Resume" not in desk.get(reverse("desk:plan-training")).content.decode()
    assert "Resume" not in desk.get(reverse("desk:job", args=[job.pk])).content.decode()
    for answer in (
        desk.post(reverse("desk:resume-training", args=[job.pk])),
        desk.post(reverse("desk:resume-config"), {"config": "small.yaml"}),
    ):
        assert answer.status_code == 409
        assert "small.yaml: no run of this config was stopped before its end" in answer.content.decode()
    assert Job.objects.count() == 1


@pytest.mark.parametrize("name", ["", "../secret.yaml", "/etc/passwd"])
def test_a_foreign_config_is_not_resumed(desk: Client, stopped: TrainingRun, name: str) -> None:
    answer = desk.post(reverse("desk:resume-config"), {"config": name})
    assert answer.status_code == 400
    assert "allowed small.yaml" in answer.content.decode()
    assert not Job.objects.exists()


def test_only_a_training_can_be_resumed(desk: Client, stopped: TrainingRun) -> None:
    night = Job.objects.create(
        kind=Job.Kind.NIGHT, status=Job.Status.INTERRUPTED, options={"steps": ["merge"], "dry_run": False}
    )
    assert desk.post(reverse("desk:resume-training", args=[night.pk])).status_code == 400


def test_a_config_that_cannot_be_used_keeps_the_start_page_from_nothing(
    desk: Client, stopped: TrainingRun, configs: Path
) -> None:
    (configs / "broken.yaml").write_text("lora: [")
    assert desk.get(reverse("desk:plan-training")).status_code == 200
