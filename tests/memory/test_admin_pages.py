"""Every page of the desk opens, in a number of queries that does not grow with its rows."""

import re

import pytest
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries

from maintenance.models import (
    ArchiveFile,
    Clustering,
    MaintenanceRun,
    MaintenanceStep,
    Proposal,
    RowChange,
)
from memory.models import BulkDecision, PairEmbedding, SftPair
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

# Queries of the list, of a search in it, of the page of one row. Two of each are session and user; a list counts its
# rows and fetches them, and that of pairs asks for the saved filters; a search in texts asks first which rows are the
# newest; a page asks for its content type.
QUERIES = {
    "memory.conversation": (5, 6, 6),
    "memory.message": (4, 5, 4),
    "memory.sftpair": (5, 6, 5),
    "memory.preferencepair": (5, 6, 5),
    "memory.bulkdecision": (4, 4, 4),
    "memory.replayentry": (4, 5, 4),
    "memory.importbatch": (5, 6, 4),
    "memory.pairembedding": (5, 5, 4),
    "training.trainingrun": (4, 5, 5),
    "training.pairuse": (4, 4, 4),
    "maintenance.maintenancerun": (5, 6, 5),
    "maintenance.rowchange": (4, 4, 4),
    "maintenance.proposal": (4, 5, 6),
    "maintenance.clustering": (5, 6, 4),
    "maintenance.archivefile": (4, 5, 4),
}
BIG_COLUMNS = {
    *("content", "original_content", "instruction", "response", "context", "prompt", "chosen", "rejected", "metadata"),
    *("safety_flags", "skipped", "vector", "config", "metrics", "evaluation", "error", "traceback"),
    *("labels", "centroids", "details"),
}


def fill(count: int) -> None:
    """Store `count` rows of every model, each linked to others."""
    for number in range(count):
        talk = rows.conversation(f"c{number}", title=f"About the dog {number}", import_batch=rows.import_batch())
        question = rows.message(talk, "m1", role="user", content="What is my dog called?")
        answer = rows.message(talk, "m2", parent=question)
        pair = rows.sft_pair(conversation=talk, user_message=question, assistant_message=answer, metadata={"a": 1})
        preference = rows.preference_pair(conversation=talk, chosen=f"Dog {number}", chosen_message=answer)
        rows.replay_entry(message=answer, response="The dog.")
        BulkDecision.objects.create(channel="sft", action="approve", query="q=dog", lowest_id=1, next_id=0)
        rows.embedding(pair, embedder="dog")
        PairEmbedding.objects.create(preference_pair=preference, embedder="dog", dimension=2, vector=bytes(4))
        run = TrainingRun.objects.create(config_path="dog.yaml", config={"seed": number})
        PairUse.objects.create(run=run, sft_pair=pair, step=1, epoch=0, weight=1.0, content_hash="0" * 64)
        fill_night(pair, rows.sft_pair(conversation=talk), name=f"dog {number}")


def fill_night(pair: SftPair, other: SftPair, *, name: str) -> None:
    """Store a row of every model of the night, its texts all `name`."""
    night = MaintenanceRun.objects.create(config_path=name, config={"a": name}, error=name, report=name)
    for step in ("merge", "retire"):
        MaintenanceStep.objects.create(run=night, name=step, status="failed", error=name, traceback=name)
    RowChange.objects.create(
        run=night, step="merge", table="memory.sftpair", row_id=pair.pk, before={name: name}, after={name: name}
    )
    Proposal.objects.create(
        run=night, kind="correction", sft_pair=pair, other_sft_pair=other, similarity=0.95, reason=name
    )
    clusters = [{"number": 0, "title": name, "size": 2, "unused": 1}]
    Clustering.objects.create(
        run=night, embedder=name, k=1, pairs=2, coverage=1.0, drift=0.5, clusters=clusters, centroids=b"", labels=b""
    )
    ArchiveFile.objects.create(run=night, path=f"{name}.jsonl.gz", sha256="0" * 64)


def newest_change() -> int:
    return RowChange.objects.latest("pk").row_id


def list_page(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


def newest(label: str) -> models.Model:
    (model,) = [model for model in admin.site._registry if model._meta.label_lower == label]
    return model._default_manager.latest("pk")


def page_of(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def test_every_model_of_the_project_is_on_the_desk() -> None:
    own = {
        model._meta.label_lower
        for model in admin.site._registry
        if model._meta.app_label in {"memory", "training", "maintenance"}
    }
    assert own == set(QUERIES)


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("label", QUERIES)
def test_a_list_takes_as_many_queries_for_few_rows_as_for_many(
    label: str, count: int, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fill(count)
    with django_assert_num_queries(QUERIES[label][0]):
        response = admin_client.get(list_page(label))
    assert response.status_code == 200
    assert len(response.context["cl"].result_list) >= count


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("label", QUERIES)
def test_a_search_takes_as_many_queries_for_few_rows_as_for_many(
    label: str, count: int, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fill(count)
    words = (
        str(PairUse.objects.latest("pk").sft_pair_id) if label in {"memory.pairembedding", "training.pairuse"} else "do"
    )
    words = {
        "memory.importbatch": "export",
        "memory.bulkdecision": str(BulkDecision.objects.latest("pk").pk),
        "maintenance.rowchange": str(newest_change()),
    }.get(label, words)
    with django_assert_num_queries(QUERIES[label][1]):
        response = admin_client.get(list_page(label), {"q": words})
    assert response.context["cl"].result_list


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("label", QUERIES)
def test_the_page_of_a_row_takes_as_many_queries_whatever_else_is_stored(
    label: str, count: int, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fill(count)
    row = newest(label)
    ContentType.objects.clear_cache()
    with django_assert_num_queries(QUERIES[label][2]):
        response = admin_client.get(page_of(row))
    assert response.status_code == 200


@pytest.mark.parametrize("label", QUERIES)
def test_a_search_without_a_hit_is_an_empty_list(label: str, admin_client: Client) -> None:
    fill(1)
    response = admin_client.get(list_page(label), {"q": "424242424242"})
    assert response.status_code == 200
    assert not response.context["cl"].result_list


@pytest.mark.parametrize("label", QUERIES)
def test_a_list_leaves_big_columns_in_the_database(label: str, admin_client: Client) -> None:
    fill(1)
    with CaptureQueriesContext(connection) as captured:
        admin_client.get(list_page(label))
    table = newest(label)._meta.db_table
    # One for the keys, one for the rows of the page.
    fetching = [query["sql"].partition(" FROM ")[0] for query in captured if f'SELECT "{table}"."id"' in query["sql"]]
    beginnings = r"SUBSTR(ING)?\([^)]*\)"
    loaded = re.findall(rf'"{table}"."(\w+)"', re.sub(beginnings, "", " ".join(fetching)))
    assert "id" in loaded
    assert BIG_COLUMNS.isdisjoint(loaded)


@pytest.mark.parametrize("label", QUERIES)
def test_a_list_shows_the_words_of_a_text_as_words(label: str, admin_client: Client) -> None:
    attack = "<script>alert('dog')</script>"
    talk = rows.conversation("c0", title=attack, participant=attack, metadata={"a": attack})
    question = rows.message(talk, "m1", role="user", content=attack, original_content=attack, model_name=attack)
    pair = rows.sft_pair(instruction=attack, response=attack, context=[], metadata={"a": attack}, conversation=talk)
    rows.preference_pair(chosen=attack, rejected=f"{attack}!", prompt=[{"role": "user", "content": attack}])
    rows.replay_entry(message=question, prompt=attack, response=attack, safety_flags=[attack])
    rows.embedding(pair, embedder=attack)
    BulkDecision.objects.create(channel="sft", action="reemit", query=attack, reason=attack, lowest_id=1, next_id=0)
    rows.import_batch(path=attack, skipped=[{"where": attack, "reason": attack}], error=attack)
    run = TrainingRun.objects.create(
        config_path=attack, config={"a": attack}, error=attack, traceback=attack, metrics={"a": attack}, adapter=attack
    )
    PairUse.objects.create(run=run, sft_pair=pair, step=1, epoch=0, weight=1.0, content_hash=attack)
    fill_night(pair, rows.sft_pair(instruction=attack), name=attack)
    for page in (list_page(label), page_of(newest(label))):
        shown = admin_client.get(page).content.decode()
        assert "<script>alert" not in shown


def test_a_stranger_is_sent_to_the_login(client: Client) -> None:
    response = client.get(list_page("memory.sftpair"))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))
