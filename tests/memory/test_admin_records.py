"""What the machine recorded is read at the desk, not written."""

from datetime import UTC, datetime

import pytest
from constance import config
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from memory.models import ReplayEntry
from tests.memory import rows
from tests.memory.forms import send_form

pytestmark = pytest.mark.django_db


def test_imports_and_embeddings_are_neither_added_changed_nor_deleted(admin_client: Client) -> None:
    records = [rows.import_batch(), rows.embedding(rows.sft_pair())]
    for record in records:
        name = f"admin:memory_{record._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403
        assert admin_client.get(reverse(f"{name}_change", args=[record.pk])).status_code == 200
        assert admin_client.post(reverse(f"{name}_change", args=[record.pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"{name}_delete", args=[record.pk]), {"post": "yes"}).status_code == 403


def test_what_an_import_left_out_is_shown(admin_client: Client) -> None:
    batch = rows.import_batch(skipped=[{"where": "conversations.json[17]", "reason": "größer als erlaubt"}])
    shown = admin_client.get(reverse("admin:memory_importbatch_change", args=[batch.pk])).content.decode()
    assert "&quot;where&quot;: &quot;conversations.json[17]&quot;" in shown
    assert "größer als erlaubt" in shown


def test_of_a_replay_entry_a_person_changes_the_flags_alone(admin_client: Client) -> None:
    entry = rows.replay_entry()
    response = send_form(
        admin_client,
        reverse("admin:memory_replayentry_change", args=[entry.pk]),
        {"safety_flags": '["private"]', "response": "Other", "kind": "introspection", "reward_intensity": 1},
    )
    assert response.status_code == 302
    changed = ReplayEntry.objects.get()
    assert changed.safety_flags == ["private"]
    assert (changed.response, changed.kind, changed.reward_intensity) == ("Hello.", "experience", 0.5)
    assert admin_client.get(reverse("admin:memory_replayentry_add")).status_code == 403


def test_flags_that_somebody_set_since_the_page_was_opened_are_not_overwritten(admin_client: Client) -> None:
    page = reverse("admin:memory_replayentry_change", args=[rows.replay_entry().pk])
    seen = admin_client.get(page).context["adminform"].form.initial["seen"]
    ReplayEntry.objects.update(safety_flags=["private"])
    refused = admin_client.post(page, {"safety_flags": "[]", "seen": seen})
    assert "was changed since you opened this page" in refused.content.decode()
    assert ReplayEntry.objects.get().safety_flags == ["private"]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("", []),
        ("null", []),
        (' ["private", "insult"]', ["private", "insult"]),
        ('{"a": 1}', "safety_flags: got {'a': 1}, allowed a list of words of 1 to 64 characters"),
        ("3", "safety_flags: got 3, allowed a list of words of 1 to 64 characters"),
        ('"x"', "safety_flags: got 'x', allowed a list of words of 1 to 64 characters"),
        ('["ok", ""]', "safety_flags: got ['ok', ''], allowed a list of words of 1 to 64 characters"),
        (r'["\ud800"]', r"safety_flags: got ['\ud800'], allowed finite numbers, and text without NUL and"),
    ],
)
def test_flags_are_a_list_of_short_words(typed: str, stored: list[str] | str, admin_client: Client) -> None:
    entry = rows.replay_entry(safety_flags=["old"])
    answer = send_form(
        admin_client, reverse("admin:memory_replayentry_change", args=[entry.pk]), {"safety_flags": typed}
    )
    entry.refresh_from_db()
    if isinstance(stored, str):
        (problem,) = answer.context["adminform"].form.non_field_errors()
        assert problem.startswith(stored)
        assert escape(typed) in answer.content.decode()
        assert entry.safety_flags == ["old"]
    else:
        assert entry.safety_flags == stored


@pytest.mark.parametrize(("place", "shown"), [("", [0, 1]), ("buffer", [0]), ("evicted", [1]), ("nowhere", [])])
def test_replay_entries_are_listed_by_their_place(place: str, shown: list[int], admin_client: Client) -> None:
    entries = [rows.replay_entry(), rows.replay_entry(evicted_at=datetime(2026, 5, 1, 3, tzinfo=UTC))]
    page = admin_client.get(reverse("admin:memory_replayentry_changelist"), {"place": place})
    assert set(page.context["cl"].result_list) == {entries[number] for number in shown}
    assert ("2026-05-01 03:00" in page.content.decode()) == (1 in shown)


def test_a_live_switch_is_turned_at_the_desk(admin_client: Client) -> None:
    # The switches' content type is made when it is first asked for: another test's was taken back with its rows.
    ContentType.objects.clear_cache()
    assert config.INTROSPECTION_IN_SFT is False
    page = reverse("admin:constance_config_changelist")
    version = admin_client.get(page).context["form"]["version"].value()
    response = admin_client.post(page, {"version": version, "INTROSPECTION_IN_SFT": "on", "PREFER_KEPT_BRANCH": "on"})
    assert response.status_code == 302
    assert config.INTROSPECTION_IN_SFT is True


@pytest.mark.parametrize("model", ["auth_user", "auth_group", "axes_accessattempt", "axes_accesslog"])
def test_the_pages_of_people_open(model: str, admin_client: Client) -> None:
    assert admin_client.get(reverse(f"admin:{model}_changelist")).status_code == 200


def test_a_person_is_added_at_the_desk(admin_client: Client) -> None:
    form = {
        "username": "maria",
        "password1": "a-long-Passw0rd",
        "password2": "a-long-Passw0rd",
        "usable_password": "true",
    }
    assert admin_client.post(reverse("admin:auth_user_add"), form).status_code == 302
    assert User.objects.get(username="maria").check_password("a-long-Passw0rd")


def test_the_navigation_shows_what_a_person_may_see(client: Client, admin_client: Client) -> None:
    reader = User.objects.create(username="reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_sftpair"))
    reading = Client()
    reading.force_login(reader)
    home, pairs, people = (
        reverse(name) for name in ("admin:index", "admin:memory_sftpair_changelist", "admin:auth_user_changelist")
    )
    assert f'href="{pairs}"' in reading.get(home).content.decode()
    assert f'href="{people}"' not in reading.get(home).content.decode()
    assert f'href="{people}"' in admin_client.get(home).content.decode()
