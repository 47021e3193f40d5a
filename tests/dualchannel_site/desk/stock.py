"""A row of every kind, so that every address of the admin leads somewhere."""

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.db import models

from dualchannel_site.desk.models import Job
from maintenance.models import ArchiveFile, Clustering, MaintenanceRun, MaintenanceStep, Proposal, RowChange
from memory.history import keep_originals
from memory.models import BulkDecision, PairEmbedding, PreferencePair, SavedFilter, SftPair
from tests.memory import rows
from training.models import PairUse, TrainingRun


def stock() -> None:
    """Store a few rows of each model of the project, linked to each other."""
    talk = rows.conversation(title="About the dog", import_batch=rows.import_batch())
    question = rows.message(talk, "m1", role="user", content="What is my dog called?")
    answer = rows.message(talk, "m2", parent=question)
    pair = rows.sft_pair(conversation=talk, user_message=question, assistant_message=answer)
    other = rows.sft_pair(conversation=talk, instruction="And my dog's name?", response="Pixel, as you said.")
    preference = rows.preference_pair(conversation=talk, chosen_message=answer)
    rows.replay_entry(message=answer)
    rows.exported_pair()
    rows.embedding(pair)
    PairEmbedding.objects.create(preference_pair=preference, embedder="tiny", dimension=2, vector=bytes(4))
    run = TrainingRun.objects.create(config_path="dog.yaml", config={})
    PairUse.objects.create(run=run, sft_pair=pair, step=1, epoch=0, weight=1.0, content_hash="0" * 64)
    night = MaintenanceRun.objects.create(config_path="night.yaml", config={})
    MaintenanceStep.objects.create(run=night, name="merge", status="failed", error="no dog", traceback="dog.py, line 1")
    RowChange.objects.create(run=night, step="merge", table="memory.sftpair", row_id=pair.pk, before={}, after={})
    Proposal.objects.create(
        run=night, kind="correction", sft_pair=pair, other_sft_pair=other, similarity=0.9, reason="-"
    )
    clusters = [{"number": 0, "title": "dog", "size": 2, "unused": 1}]
    Clustering.objects.create(
        run=night, embedder="tiny", k=1, pairs=2, coverage=1.0, drift=0.5, clusters=clusters, centroids=b"", labels=b""
    )
    ArchiveFile.objects.create(run=night, path="pairs.jsonl.gz", sha256="0" * 64)
    owner, _ = User.objects.get_or_create(username="owner")
    login = {"username": "owner", "ip_address": "192.0.2.1", "user_agent": "dog"}
    AccessAttempt.objects.create(**login, failures_since_start=1)
    AccessFailureLog.objects.create(**login)
    AccessLog.objects.create(**login)
    SavedFilter.objects.create(owner=owner, model="memory.sftpair", name="dogs", query="q=dog")
    BulkDecision.objects.create(channel="sft", action="approve", decided_by=owner, lowest_id=pair.pk, next_id=pair.pk)
    Job.objects.create(
        kind="plan", status="failed", requested_by=owner, options={"config": "dog.yaml", "overrides": []}
    )


def history_of(row: models.Model) -> int:
    """Return the number of the newest line in the history of a pair, which gets one where it has none."""
    assert isinstance(row, SftPair | PreferencePair)
    keep_originals(type(row)._default_manager.filter(pk=row.pk))
    return int(type(row).history.filter(id=row.pk).latest("history_id").history_id)
