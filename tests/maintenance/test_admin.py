"""The night at the desk: read, but for proposals, which a curator decides."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from maintenance.models import Clustering, MaintenanceRun, MaintenanceStep, Proposal, RowChange
from memory.models import SftPair
from tests.maintenance.test_decisions import proposal
from tests.memory import rows

pytestmark = pytest.mark.django_db

PROPOSALS = "admin:maintenance_proposal_changelist"


def person(client: Client, *permissions: str) -> User:
    user = User.objects.create_user("maren", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user


def decide(client: Client, action: str, *found: Proposal) -> str:
    chosen = {"action": action, "_selected_action": [str(each.pk) for each in found]}
    return client.post(reverse(PROPOSALS), chosen, follow=True).content.decode()


def test_a_night_shows_its_steps_and_why_a_step_failed(admin_client: Client) -> None:
    night = MaintenanceRun.objects.create(config_path="n.yaml", config={}, status="failed")
    MaintenanceStep.objects.create(
        run=night, name="merge", status="succeeded", counts={"sft_merged": 1200, "groups": 0}
    )
    MaintenanceStep.objects.create(run=night, name="train", status="failed", error="no <disk>", traceback="Traceback…")
    shown = admin_client.get(reverse("admin:maintenance_maintenancerun_change", args=[night.pk])).content.decode()
    assert "1,200 sft merged" in shown
    assert "no &lt;disk&gt;" in shown
    assert "Traceback…" in shown
    assert "0 groups" not in shown
    listed = admin_client.get(reverse("admin:maintenance_maintenancerun_changelist")).content.decode()
    assert "1 done, train failed" in listed


def test_a_change_links_to_its_row_where_the_desk_has_a_page_for_it(admin_client: Client) -> None:
    night, pair = MaintenanceRun.objects.create(config_path="n.yaml", config={}), rows.sft_pair()
    for table, key in (("memory.sftpair", pair.pk), ("gone.model", 7)):
        RowChange.objects.create(run=night, step="merge", table=table, row_id=key, before={"a": 1}, after={"a": 2})
    shown = admin_client.get(reverse("admin:maintenance_rowchange_changelist")).content.decode()
    assert reverse("admin:memory_sftpair_change", args=[pair.pk]) in shown
    assert "gone.model 7" in shown


def test_a_cluster_links_to_its_pairs(admin_client: Client) -> None:
    pair = rows.sft_pair()
    rows.embedding(pair, cluster=3)
    rows.embedding(rows.sft_pair(), cluster=4)
    clusters = [{"number": 3, "title": "dog name", "size": 1, "unused": 1}]
    found = Clustering.objects.create(embedder="a", k=1, pairs=1, coverage=0.5, clusters=clusters, centroids=b"")
    shown = admin_client.get(reverse("admin:maintenance_clustering_change", args=[found.pk])).content.decode()
    address = f"{reverse('admin:memory_pairembedding_changelist')}?cluster_from=3&amp;cluster_to=3"
    assert address in shown
    assert "50%" in shown
    assert admin_client.get(address.replace("&amp;", "&")).context["cl"].result_count == 1


@pytest.mark.parametrize("model", ["sftpair", "preferencepair"])
def test_the_filter_by_topic_names_the_topic_of_the_clustering_in_use(model: str, admin_client: Client) -> None:
    common = {"embedder": "a", "k": 1, "pairs": 1, "coverage": 0.5, "centroids": b""}
    for title, undone_at in (("older", None), ("<b>dog", None), ("undone", timezone.now())):
        clusters = [{"number": 3, "title": title, "size": 1, "unused": 1}]
        found = Clustering.objects.create(**common, clusters=clusters, undone_at=undone_at)
    address = f"{reverse(f'admin:memory_{model}_changelist')}?cluster="
    shown = admin_client.get(f"{address}3").content.decode()
    assert "By topic 3 · &lt;b&gt;dog" in shown
    for other in ("", "4", "x"):
        assert "By topic (number)" in admin_client.get(address + other).content.decode()
    topics = admin_client.get(reverse("admin:maintenance_clustering_change", args=[found.pk])).content.decode()
    assert f'href="{address}3"' in topics


def test_a_curator_accepts_and_dismisses(client: Client) -> None:
    curator = person(client, "view_proposal", "change_proposal")
    first, second = proposal(), proposal()
    assert "1 proposal accepted." in decide(client, "accept", first)
    assert "1 proposal dismissed." in decide(client, "dismiss", second)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.decided_by, second.status) == ("accepted", curator, "dismissed")
    assert SftPair.objects.exclude(merged_into=None).count() == 1


def test_a_proposal_that_cannot_be_accepted_any_more_says_why(client: Client) -> None:
    person(client, "view_proposal", "change_proposal")
    found = proposal(sft_pair=rows.sft_pair(review_status="rejected"))
    assert f"Nothing was decided. proposal {found.pk}: got pair" in decide(client, "accept", found)
    found.refresh_from_db()
    assert found.status == "open"


def test_who_may_only_look_decides_nothing(client: Client) -> None:
    person(client, "view_proposal")
    found = proposal()
    for action in ("accept", "dismiss"):
        decide(client, action, found)
    found.refresh_from_db()
    assert found.status == "open"


def test_no_proposal_is_decided_by_looking(client: Client) -> None:
    person(client, "view_proposal", "change_proposal")
    found = proposal()
    client.get(reverse(PROPOSALS), {"action": "accept", "_selected_action": str(found.pk)})
    found.refresh_from_db()
    assert found.status == "open"


def test_open_proposals_come_first(client: Client) -> None:
    person(client, "view_proposal")
    proposal(status="accepted", similarity=0.99)
    proposal(status="dismissed", similarity=0.98)
    waiting = proposal(similarity=0.93)
    assert client.get(reverse(PROPOSALS)).context["cl"].result_list[0] == waiting
