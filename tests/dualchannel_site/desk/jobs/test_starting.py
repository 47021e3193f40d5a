"""A job is asked for: what is stored, what is refused, what nobody may name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_tasks import task_backends
from django_tasks.backends.dummy import DummyBackend
from django_tasks_db.models import DBTaskResult
from pytest_django import Settings

from dualchannel_site.desk.jobs.configs import FIXED_KEYS, chosen_config, config_checksum
from dualchannel_site.desk.jobs.starting import JobOpenError, start_job
from dualchannel_site.desk.models import Job
from dualchannel_site.desk.models.jobs import DEAD_AFTER
from maintenance.steps import STEPS
from tests.dualchannel_site.desk.jobs.test_pages import PLAN
from training.config import TrainingConfig
from training.config.sections import section_of

pytestmark = pytest.mark.django_db


def test_a_job_and_its_task_are_stored_together(operator: User) -> None:
    job = start_job(kind=Job.Kind.NIGHT, options={"steps": ["merge"]}, user=operator)
    assert (job.status, job.requested_by, job.options) == ("queued", operator, {"steps": ["merge"]})
    task = DBTaskResult.objects.get()
    assert task.task_path == "dualchannel_site.desk.jobs.tasks.do_job"
    assert task.args_kwargs == {"args": [job.pk], "kwargs": {}}


def test_any_backend_of_the_queue_will_do(operator: User) -> None:
    database, dummy = task_backends["default"], DummyBackend(alias="default", params={})
    task_backends["default"] = dummy
    try:
        job = start_job(kind=Job.Kind.NIGHT, options={}, user=operator)
    finally:
        task_backends["default"] = database
    (result,) = dummy.results
    assert (result.task.name, result.args) == ("do_job", [job.pk])


def test_of_two_starts_the_second_is_refused_and_leaves_nothing(operator: User) -> None:
    first = start_job(kind=Job.Kind.NIGHT, options={}, user=operator)
    with transaction.atomic(), pytest.raises(JobOpenError) as refused:
        start_job(kind=Job.Kind.NIGHT, options={}, user=operator)
    since = timezone.localtime(first.requested_at)
    assert str(refused.value) == (
        f"night job {first.pk} is queued since {since:%Y-%m-%d %H:%M}; allowed is one night at a time"
    )
    assert refused.value.job == first
    assert (Job.objects.count(), DBTaskResult.objects.count()) == (1, 1)


def test_a_dead_job_keeps_nobody_from_starting_again(operator: User) -> None:
    old = timezone.now() - 2 * DEAD_AFTER
    dead = Job.objects.create(kind=Job.Kind.NIGHT, status=Job.Status.RUNNING, started_at=old, heartbeat_at=old)
    assert start_job(kind=Job.Kind.NIGHT, options={}, user=operator).status == "queued"
    dead.refresh_from_db()
    assert dead.status == "interrupted"


def test_extraction_of_all_is_queued(desk: Client, operator: User) -> None:
    answer = desk.post(reverse("desk:start-extraction"), {"which": "all", "since": ""})
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/admin/jobs/{job.pk}/"
    assert (job.kind, job.options, job.requested_by) == ("extraction", {"since": None}, operator)


def test_extraction_since_a_day_begins_at_its_midnight_here(desk: Client, settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    answer = desk.post(reverse("desk:start-extraction"), {"which": "since", "since": "2026-01-31"}, follow=True)
    assert Job.objects.get().options == {"since": "2026-01-30T23:00:00+00:00"}
    assert "what was said since 2026-01-31<" in answer.content.decode()


def test_a_day_that_has_no_moment_in_utc_is_refused(desk: Client, settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    answer = desk.post(reverse("desk:start-extraction"), {"which": "since", "since": "0001-01-01"})
    assert answer.status_code == 400
    assert "got 0001-01-01, allowed a day such as 2026-01-31" in answer.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"which": "since", "since": ""}, "got no day, allowed a day such as 2026-01-31"),
        ({"which": "since", "since": "9999-01-31"}, "got 9999-01-31, allowed today or an earlier day"),
        ({"which": "since", "since": "yesterday"}, "Enter a valid date."),
        ({"which": "some"}, "some is not one of the available choices."),
        ({}, "This field is required."),
    ],
)
def test_nonsense_about_extraction_is_told(desk: Client, sent: dict[str, str], message: str) -> None:
    answer = desk.post(reverse("desk:start-extraction"), {"x": "", **sent})
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert not Job.objects.exists()


def test_a_night_takes_the_steps_in_their_order(desk: Client) -> None:
    desk.post(reverse("desk:start-night"), {"how": "dry_run", "steps": ["merge", "extract"]})
    assert Job.objects.get().options == {"steps": ["extract", "merge"], "dry_run": True}


def test_the_page_of_a_night_names_the_config_that_it_works_by(desk: Client, settings: Settings) -> None:
    settings.NIGHTLY_CONFIG = Path("/srv/own.yaml")
    assert "<code>/srv/own.yaml</code>" in desk.get(reverse("desk:start-night")).content.decode()


def test_a_night_as_the_page_offers_it_takes_all_steps_for_real(desk: Client) -> None:
    form = desk.get(reverse("desk:start-night")).context["form"]
    desk.post(reverse("desk:start-night"), {name: field.initial for name, field in form.fields.items()})
    assert Job.objects.get().options == {"steps": list(STEPS), "dry_run": False}


@pytest.mark.parametrize("steps", [[], ["dance"]])
def test_a_night_without_known_steps_is_refused(desk: Client, steps: list[str]) -> None:
    answer = desk.post(reverse("desk:start-night"), {"how": "real", "steps": steps})
    assert answer.status_code == 400
    assert not Job.objects.exists()


def test_training_begins_with_its_plan(desk: Client, configs: Path) -> None:
    desk.post(reverse("desk:plan-training"), {"config": "small.yaml", "overrides": "max_steps=4\r\n\r\n lora.r=8 "})
    job = Job.objects.get()
    assert (job.kind, job.options) == ("plan", {"config": "small.yaml", "overrides": ["max_steps=4", "lora.r=8"]})


@pytest.mark.parametrize(
    "name",
    [
        "../maintenance/nightly.yaml",
        "/etc/passwd",
        "../../../../etc/passwd",
        "other.yaml",
        "small",
        "notes.txt",
        "inner/deep.yaml",
        "\0",
        "",
    ],
)
def test_only_configs_of_the_folder_can_be_named(desk: Client, configs: Path, name: str) -> None:
    (configs / "notes.txt").write_text("x")
    (configs / "inner").mkdir()
    (configs / "inner" / "deep.yaml").write_text("x")
    answer = desk.post(reverse("desk:plan-training"), {"config": name, "overrides": ""})
    assert answer.status_code == 400
    assert not Job.objects.exists()


def test_a_job_that_names_a_foreign_config_all_the_same_reads_nothing(configs: Path) -> None:
    from dualchannel_site.desk.jobs.configs import config_path
    from training.config import ConfigError

    with pytest.raises(ConfigError, match=r"allowed small\.yaml"):
        config_path("../../etc/passwd")


@pytest.mark.parametrize("key", sorted(FIXED_KEYS))
def test_keys_that_lead_to_files_and_models_are_the_configs_own(desk: Client, configs: Path, key: str) -> None:
    answer = desk.post(reverse("desk:plan-training"), {"config": "small.yaml", "overrides": f"{key} =x"})
    assert answer.status_code == 400
    assert f"{key}: allowed in the file alone" in answer.content.decode()
    assert not Job.objects.exists()


def test_no_key_of_a_path_or_a_folder_is_forgotten() -> None:
    def keys(prefix: str, section: type) -> list[str]:
        found = []
        for name, field in section.model_fields.items():  # type: ignore[attr-defined]
            inner = section_of(field.annotation)
            found += [f"{prefix}{name}"] if inner is None else keys(f"{prefix}{name}.", inner)
        return found

    suspicious = [
        key for key in keys("", TrainingConfig) if key.endswith(("path", "_dir", "jsonl", "adapter", "report_to"))
    ]
    assert len(suspicious) >= 8
    assert set(suspicious) <= FIXED_KEYS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("max_steps=never", "max_steps: got"),
        ("dance=yes", "dance: unknown key"),
        ("lora.r", "allowed key=value"),
        ("\n".join(f"seed={number}" for number in range(21)), "got 21 values, allowed at most 20"),
        (f"seed={'1' * 300}", "seed: got 305 characters, allowed at most 200"),
    ],
)
def test_values_that_no_run_can_use_are_told_before_anything_starts(
    desk: Client, configs: Path, overrides: str, message: str
) -> None:
    answer = desk.post(reverse("desk:plan-training"), {"config": "small.yaml", "overrides": overrides})
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert not Job.objects.exists()


@pytest.fixture
def plan(operator: User, configs: Path) -> Callable[..., Job]:
    """Return a plan's job."""

    def made(**fields: object) -> Job:
        options = {"config": "small.yaml", "overrides": ["max_steps=4"]}
        values = {"kind": Job.Kind.PLAN, "status": Job.Status.SUCCEEDED, "options": options, **fields}
        return Job.objects.create(**values)

    return made


def test_a_training_is_that_of_its_plan_whatever_the_browser_sends(desk: Client, plan: Callable[..., Job]) -> None:
    checksum = config_checksum(chosen_config("small.yaml", ["max_steps=4"]))
    planned = plan(result={"config_checksum": checksum})
    desk.post(reverse("desk:start-training", args=[planned.pk]), {"config": "/etc/passwd", "overrides": "seed=1"})
    job = Job.objects.get(kind=Job.Kind.TRAINING)
    expected = {"config": "small.yaml", "overrides": ["max_steps=4"], "plan": planned.pk, "config_checksum": checksum}
    assert job.options == expected


def test_a_config_that_changed_since_its_plan_is_not_trained(
    desk: Client, plan: Callable[..., Job], configs: Path
) -> None:
    checksum = config_checksum(chosen_config("small.yaml", ["max_steps=4"]))
    planned = plan(result={**PLAN, "config_checksum": checksum})
    with (configs / "small.yaml").open("a") as config:
        config.write("sft_learning_rate: 1.0e-5\n")
    answer = desk.post(reverse("desk:start-training", args=[planned.pk]))
    assert answer.status_code == 409
    assert "small.yaml: the config changed since the plan; plan again" in answer.content.decode()
    assert Job.objects.get() == planned


@pytest.mark.parametrize("fields", [{"status": "failed"}, {"status": "running"}, {"kind": "training"}])
def test_nothing_is_trained_without_a_plan_that_succeeded(
    desk: Client, plan: Callable[..., Job], fields: dict[str, str]
) -> None:
    answer = desk.post(reverse("desk:start-training", args=[plan(**fields).pk]))
    assert answer.status_code == 400
    assert "allowed a training plan that succeeded" in answer.content.decode()
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("page", "sent", "kind"),
    [
        ("start-extraction", {"which": "all"}, Job.Kind.EXTRACTION),
        ("start-night", {"how": "real", "steps": ["merge"]}, Job.Kind.NIGHT),
        ("plan-training", {"config": "small.yaml", "overrides": ""}, Job.Kind.PLAN),
    ],
)
def test_a_second_job_of_a_kind_is_refused_with_a_link_to_the_first(
    desk: Client, configs: Path, page: str, sent: dict[str, str], kind: Job.Kind
) -> None:
    first = Job.objects.create(kind=kind, options={})
    answer = desk.post(reverse(f"desk:{page}"), sent)
    assert answer.status_code == 409
    assert f"job {first.pk} is queued since" in answer.content.decode()
    assert f'href="/admin/jobs/{first.pk}/"' in answer.content.decode()
    assert Job.objects.get() == first


def test_a_second_training_is_refused_on_the_page_of_its_plan(desk: Client, plan: Callable[..., Job]) -> None:
    first = Job.objects.create(kind=Job.Kind.TRAINING, options={"config": "small.yaml", "overrides": []})
    answer = desk.post(reverse("desk:start-training", args=[plan().pk]))
    assert answer.status_code == 409
    assert f'href="/admin/jobs/{first.pk}/"' in answer.content.decode()
