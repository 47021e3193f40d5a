"""Runs and their ledger at the desk are read, not written."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from tests.memory.rows import preference_pair, sft_pair
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db


def new_run() -> TrainingRun:
    return TrainingRun.objects.create(config_path="config/training/lora_demo.yaml", config={"seed": 7})


def test_runs_and_ledger_are_neither_added_changed_nor_deleted(admin_client: Client) -> None:
    run = new_run()
    use = PairUse.objects.create(run=run, sft_pair=sft_pair(), step=1, epoch=0, weight=0.4, content_hash="0" * 64)
    for record in (run, use):
        name = f"admin:training_{record._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403
        assert admin_client.get(reverse(f"{name}_change", args=[record.pk])).status_code == 200
        assert admin_client.post(reverse(f"{name}_change", args=[record.pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"{name}_delete", args=[record.pk]), {"post": "yes"}).status_code == 403


def test_a_failed_run_shows_config_duration_and_traceback(admin_client: Client) -> None:
    run = new_run()
    try:
        raise ValueError("the <loss> is nan")
    except ValueError as error:
        run.fail(error)
    TrainingRun.objects.update(finished_at=run.started_at + timedelta(minutes=2, seconds=5, milliseconds=600))
    shown = admin_client.get(reverse("admin:training_trainingrun_change", args=[run.pk])).content.decode()
    assert "&quot;seed&quot;: 7" in shown
    assert "0:02:06" in shown
    assert "ValueError: the &lt;loss&gt; is nan" in shown
    assert "Traceback (most recent call last):" in shown


def test_a_run_links_to_its_part_of_the_ledger(admin_client: Client) -> None:
    run, memory = new_run(), sft_pair()
    for step in (1, 2):
        PairUse.objects.create(run=run, sft_pair=memory, step=step, epoch=0, weight=0.4, content_hash="0" * 64)
    PairUse.objects.create(run=new_run(), sft_pair=memory, step=1, epoch=0, weight=0.4, content_hash="0" * 64)
    shown = admin_client.get(reverse("admin:training_trainingrun_change", args=[run.pk])).content.decode()
    ledger = f"{reverse('admin:training_pairuse_changelist')}?run__id__exact={run.pk}"
    assert f'href="{ledger}"' in shown
    assert admin_client.get(ledger).context["cl"].result_count == 2


def test_the_ledger_links_to_pairs_of_both_channels(admin_client: Client) -> None:
    run = new_run()
    memory, reward = sft_pair(), preference_pair()
    PairUse.objects.create(run=run, sft_pair=memory, step=1, epoch=0, weight=0.4, content_hash="0" * 64)
    PairUse.objects.create(run=run, preference_pair=reward, step=2, epoch=0, weight=0.6, content_hash="0" * 64)
    shown = admin_client.get(reverse("admin:training_pairuse_changelist"), {"run__id__exact": run.pk})
    assert shown.context["cl"].result_count == 2
    for pair in (memory, reward):
        page = reverse(f"admin:memory_{pair._meta.model_name}_change", args=[pair.pk])
        assert f'href="{page}"' in shown.content.decode()
    assert reverse("admin:training_trainingrun_change", args=[run.pk]) in shown.content.decode()
