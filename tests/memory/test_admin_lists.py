"""Lists of the desk: pages without counting, order where there is an index, search in the newest, saved filters."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from memory.admin import lists, paginator
from memory.admin.saved_filters import MAX_SAVED
from memory.models import PairEmbedding, PreferencePair, SavedFilter, SftPair
from tests.memory import rows
from tests.people import client_of, person
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

LIST = "admin:memory_sftpair_changelist"
SAVE = "admin:memory_sftpair_save_filter"
USED: dict[str, Any] = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}


def listed(client: Client, **parameters: Any) -> list[SftPair]:
    response = client.get(reverse(LIST), parameters)
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


class TestPages:
    @pytest.mark.parametrize(
        ("count", "words"),
        [
            (0, "No memory pairs"),
            (1, "1–1 of 1 memory pair"),
            (120, "1–50 of 120 memory pairs"),
            (121, "1–50 of more than 120 memory pairs"),
        ],
    )
    def test_rows_are_counted_up_to_a_bound(
        self, count: int, words: str, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paginator, "COUNTED_ROWS", 120)
        SftPair.objects.insert([rows.unsaved_sft_pair(response=f"Pixel {number}.") for number in range(count)])
        assert f"<p>{words}</p>" in admin_client.get(reverse(LIST)).content.decode()

    def test_pages_follow_one_another_and_end_at_the_bound(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paginator, "COUNTED_ROWS", 120)
        SftPair.objects.insert([rows.unsaved_sft_pair(response=f"Pixel {number}.") for number in range(130)])
        newest = list(SftPair.objects.order_by("-pk"))
        assert listed(admin_client, p=2) == newest[50:100]
        assert listed(admin_client, p=3) == newest[100:120]

    @pytest.mark.parametrize("page", ["4", "999999999999", "-1", "0", "x"])
    def test_a_page_that_does_not_exist_is_the_nearest_one(self, page: str, admin_client: Client) -> None:
        SftPair.objects.insert([rows.unsaved_sft_pair(response=f"Pixel {number}.") for number in range(60)])
        assert len(listed(admin_client, p=page)) == (10 if page in {"4", "999999999999"} else 50)


class TestOrder:
    def test_an_indexed_column_sorts_both_ways_with_the_key_behind_it(self, admin_client: Client) -> None:
        low, first, second = [rows.sft_pair(reward_intensity=reward) for reward in (0.1, 0.9, 0.9)]
        assert listed(admin_client, o="8") == [low, first, second]
        assert listed(admin_client, o="-8") == [second, first, low]

    def test_a_column_without_an_index_is_not_sorted_by(self, admin_client: Client) -> None:
        first, second = rows.sft_pair(instruction="B?"), rows.sft_pair(instruction="A?")
        assert listed(admin_client, o="2") == listed(admin_client, o="99") == [second, first]
        assert "o=2" not in admin_client.get(reverse(LIST)).content.decode()


class TestFilters:
    def test_merged_pairs_are_told_from_the_others(self, admin_client: Client) -> None:
        survivor = rows.sft_pair()
        merged = rows.sft_pair(merged_into=survivor)
        assert listed(admin_client, merged="yes") == [merged]
        assert listed(admin_client, merged="no") == [survivor]

    @pytest.mark.parametrize(
        ("age", "days"), [("-1", [0]), ("-7", [0, 5]), ("-30", [0, 5, 20]), ("-365", [0, 5, 20, 300]), ("365", [400])]
    )
    def test_pairs_are_found_by_their_age(self, age: str, days: list[int], admin_client: Client) -> None:
        now = timezone.now()
        pairs = {old: rows.sft_pair(created_at=now - timedelta(days=old)) for old in (0, 5, 20, 300, 400)}
        assert set(listed(admin_client, age=age)) == {pairs[old] for old in days}

    def test_pairs_are_found_by_the_run_that_used_them_once_each(self, admin_client: Client) -> None:
        used, other, unused = (rows.sft_pair() for _ in range(3))
        runs = [TrainingRun.objects.create(config_path="run.yaml", config={}) for _ in range(2)]
        for run, pair, step in ((runs[0], used, 1), (runs[0], used, 2), (runs[1], other, 1)):
            PairUse.objects.create(run=run, sft_pair=pair, step=step, epoch=0, weight=1.0, content_hash="0" * 64)
        assert listed(admin_client, run=runs[0].pk) == [used]
        assert listed(admin_client, run=runs[1].pk) == [other]
        assert listed(admin_client) == [unused, other, used]

    def test_preference_pairs_are_found_by_run_and_topic(self, admin_client: Client) -> None:
        pair, _ = rows.preference_pair(), rows.preference_pair(chosen="Hi.")
        run = TrainingRun.objects.create(config_path="run.yaml", config={})
        PairUse.objects.create(run=run, preference_pair=pair, step=1, epoch=0, weight=1.0, content_hash="0" * 64)
        PairEmbedding.objects.create(preference_pair=pair, embedder="tiny", dimension=2, vector=bytes(4), cluster=3)
        address = reverse("admin:memory_preferencepair_changelist")
        for query in ({"run": run.pk}, {"cluster": 3}):
            assert list(admin_client.get(address, query).context["cl"].result_list) == [pair]

    def test_pairs_are_found_by_their_topic(self, admin_client: Client) -> None:
        inside, outside = rows.sft_pair(), rows.sft_pair()
        rows.embedding(inside, cluster=0)
        rows.embedding(outside, cluster=1)
        assert listed(admin_client, cluster="0") == [inside]

    @pytest.mark.parametrize(
        ("parameters", "problem"),
        [
            ({"confidence_from": "much"}, "confidence: got 'much', allowed a number"),
            ({"reward_intensity_to": "nan"}, "reward intensity: got 'nan', allowed a number"),
            ({"run": "last"}, "run (number): got 'last', allowed a whole number from 0"),
            ({"run": "9" * 30}, f"run (number): got '{'9' * 30}', allowed a whole number from 0"),
            ({"cluster": "-1"}, "topic (number): got '-1', allowed a whole number from 0"),
            ({"merged": "perhaps"}, "merging: got 'perhaps', allowed no, yes"),
            ({"age": "7"}, "age: got '7', allowed -1, -7, -30, -365, 365"),
        ],
    )
    def test_a_value_that_makes_no_sense_shows_nothing_and_says_so(
        self, parameters: dict[str, str], problem: str, admin_client: Client
    ) -> None:
        rows.sft_pair()
        response = admin_client.get(reverse(LIST), parameters)
        assert list(response.context["cl"].result_list) == []
        assert [str(message) for message in response.context["messages"]] == [problem]

    @pytest.mark.parametrize(
        ("model", "query"),
        [
            ("sftpair", "review_status__exact=%00"),
            ("sftpair", "source__exact=a%00"),
            ("sftpair", "category=%00"),
            ("sftpair", "q=%00cat"),
            ("sftpair", "id__in=1,99999999999999999999"),
            ("message", "conversation__id__exact=99999999999999999999"),
            ("message", "conversation_id=-99999999999999999999"),
        ],
    )
    def test_what_no_database_takes_leads_back_to_the_list(self, model: str, query: str, admin_client: Client) -> None:
        address = reverse(f"admin:memory_{model}_changelist")
        response = admin_client.get(f"{address}?{query}")
        assert (response.status_code, response["Location"]) == (302, f"{address}?e=1")

    def test_filters_search_and_order_stay_in_the_address_of_the_next_page(self, admin_client: Client) -> None:
        SftPair.objects.insert([rows.unsaved_sft_pair(response=f"Pixel {number}.") for number in range(60)])
        asked = {"review_status__exact": "pending", "confidence_from": "0.5", "age": "-30", "q": "Pixel", "o": "-8"}
        page = admin_client.get(reverse(LIST), asked).content.decode()
        (following,) = set(re.findall(r'href="\?([^"]*p=2[^"]*)"', page))
        assert len(listed(admin_client, **asked)) == 50
        query = following.replace("&amp;", "&")
        assert len(admin_client.get(f"{reverse(LIST)}?{query}").context["cl"].result_list) == 10
        assert all(f"{name}={value}" in query for name, value in asked.items())

    def test_known_values_are_offered_without_reading_the_table(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number, name in enumerate(("native", "chatgpt", "native")):
            rows.conversation(f"c{number}", source_system=name)
        page = admin_client.get(reverse("admin:memory_conversation_changelist")).content.decode()
        assert page.count('name="source_system"') == 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan in SQLite's words")
@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("message", ""),
        ("message", "role__exact=user"),
        ("message", "kind__exact=introspection"),
        ("message", "rating__exact=1"),
        ("message", "is_active_branch__exact=0"),
        ("message", "internal_generated__exact=1"),
        ("message", "conversation__id__exact=1"),
        ("message", "created_at_from=2026-05-01&created_at_to=2026-05-31"),
        ("message", "role__exact=user&rating__exact=-1&created_at_to=2026-05-31"),
        ("replayentry", ""),
        ("replayentry", "place=buffer"),
        ("replayentry", "place=evicted"),
        ("replayentry", "kind__exact=introspection"),
        ("replayentry", "internal_generated__exact=1"),
        ("replayentry", "reward_intensity_from=0.5&reward_intensity_to=0.9"),
        ("replayentry", "created_at_from=2026-05-01&created_at_to=2026-05-31"),
        ("replayentry", "place=buffer&kind__exact=experience&reward_intensity_to=0.1"),
    ],
)
def test_a_filter_of_a_long_list_is_read_from_an_index_alone(model: str, query: str, admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        page = admin_client.get(f"{reverse(f'admin:memory_{model}_changelist')}?{query}")
    assert page.context["cl"].problems == []
    (keys,) = [found["sql"] for found in captured if f"LIMIT {paginator.COUNTED_ROWS + 1}" in found["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {keys}")
        (read,) = [str(row[-1]) for row in cursor.fetchall() if f"memory_{model}" in row[-1]]
    assert "USING COVERING INDEX" in read


class TestSearch:
    def test_texts_are_searched_in_the_newest_rows_of_the_filter(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lists, "SEARCHED_ROWS", 2)
        oldest, _, approved, newest = [
            rows.sft_pair(review_status=status) for status in ("approved", "pending", "approved", "pending")
        ]
        assert listed(admin_client, q="dog") == [newest, approved]
        assert listed(admin_client, q="dog", review_status__exact="approved") == [approved, oldest]

    def test_the_list_says_how_far_a_search_reaches(self, admin_client: Client) -> None:
        assert "in the newest 20,000 of the filter" in admin_client.get(reverse(LIST)).content.decode()


class TestSavedFilters:
    def test_a_filter_is_saved_offered_and_deleted(self, admin_client: Client, admin_user: User) -> None:
        page = admin_client.post(
            reverse(SAVE), {"name": " Doubtful  ones ", "query": "confidence_to=0.5&p=3&archive=&q=dog"}, follow=True
        )
        saved = SavedFilter.objects.get()
        assert (saved.owner, saved.model, saved.name) == (admin_user, "memory.sftpair", "Doubtful ones")
        assert saved.query == "confidence_to=0.5&q=dog"
        assert not saved.is_shared
        assert f'href="{reverse(LIST)}?confidence_to=0.5&amp;q=dog" aria-current="true"' in page.content.decode()
        admin_client.post(reverse("admin:memory_sftpair_delete_filter", args=[saved.pk]))
        assert not SavedFilter.objects.exists()

    def test_the_list_of_a_saved_filter_is_the_one_that_was_saved(self, admin_client: Client) -> None:
        doubtful, _ = rows.sft_pair(confidence=0.2), rows.sft_pair()
        admin_client.post(reverse(SAVE), {"name": "Doubtful", "query": "confidence_to=0.5"})
        response = admin_client.get(f"{reverse(LIST)}?{SavedFilter.objects.get().query}")
        assert list(response.context["cl"].result_list) == [doubtful]

    def test_only_shared_filters_are_offered_to_others_who_cannot_delete_them(self) -> None:
        owner, other = person("owner", "view_sftpair"), person("other", "view_sftpair")
        for name, form in (("Mine", {}), ("Ours", {"is_shared": "on"})):
            client_of(owner).post(reverse(SAVE), {"name": name, "query": "merged=no", **form})
        shown = client_of(other).get(reverse(LIST)).content.decode()
        assert "Ours" in shown
        assert "Mine" not in shown
        saved = SavedFilter.objects.get(name="Ours")
        address = reverse("admin:memory_sftpair_delete_filter", args=[saved.pk])
        assert address not in shown
        assert client_of(other).post(address).status_code == 404
        assert SavedFilter.objects.count() == 2

    def test_ones_own_filters_come_first_however_many_others_share(
        self, admin_client: Client, admin_user: User
    ) -> None:
        other = person("other")
        SavedFilter.objects.bulk_create(
            SavedFilter(owner=other, model="memory.sftpair", name=f"a{number}", query="q=a", is_shared=True)
            for number in range(2 * MAX_SAVED)
        )
        SavedFilter.objects.create(owner=admin_user, model="memory.sftpair", name="z", query="q=z")
        offered = admin_client.get(reverse(LIST)).context["saved_filters"]
        assert [saved.name for saved in offered[:2]] == ["z", "a0"]
        assert len(offered) == 2 * MAX_SAVED

    def test_a_shared_filter_is_deleted_by_whoever_may_delete_filters(self, admin_client: Client) -> None:
        owner = client_of(person("owner", "view_sftpair"))
        for name, form in (("Mine", {}), ("Ours", {"is_shared": "on"})):
            owner.post(reverse(SAVE), {"name": name, "query": "merged=no", **form})
        mine, ours = (
            reverse("admin:memory_sftpair_delete_filter", args=[saved.pk])
            for saved in SavedFilter.objects.order_by("name")
        )
        assert ours in admin_client.get(reverse(LIST)).content.decode()
        assert [admin_client.post(address).status_code for address in (mine, ours)] == [404, 302]
        assert SavedFilter.objects.get().name == "Mine"

    @pytest.mark.parametrize(
        ("form", "problem"),
        [
            ({"name": "", "query": "merged=no"}, "name: got 0 characters, allowed 1 to 64"),
            ({"name": "x" * 65, "query": "merged=no"}, "name: got 65 characters, allowed 1 to 64"),
            ({"name": "All", "query": ""}, "query: got 0 characters, allowed 1 to 2000"),
            ({"name": "A", "query": "password=1"}, "filter: got 'password=1', allowed the filters of this list"),
            ({"name": "A", "query": "review_status=x"}, "filter: got review_status, allowed the filters of this list"),
            ({"name": "A", "query": "confidence_to=x"}, "confidence: got 'x', allowed a number"),
            (
                {"name": "A", "query": "conversation__import_batch__path=x"},
                "filter: got 'conversation__import_batch__path=x', allowed the filters of this list",
            ),
        ],
    )
    def test_what_is_no_filter_is_not_saved(self, form: dict[str, str], problem: str, admin_client: Client) -> None:
        response = admin_client.post(reverse(SAVE), form, follow=True)
        assert [str(message) for message in response.context["messages"]] == [problem]
        assert not SavedFilter.objects.exists()

    def test_a_name_is_used_once_for_a_list(self, admin_client: Client) -> None:
        for _ in range(2):
            response = admin_client.post(reverse(SAVE), {"name": "A", "query": "merged=no"}, follow=True)
        assert "which you use already for this list" in response.content.decode()
        assert SavedFilter.objects.count() == 1

    def test_nothing_is_saved_or_deleted_by_looking_nor_by_who_may_not_look(
        self, admin_client: Client, admin_user: User
    ) -> None:
        admin_client.post(reverse(SAVE), {"name": "A", "query": "merged=no"})
        delete = reverse("admin:memory_sftpair_delete_filter", args=[SavedFilter.objects.get().pk])
        assert admin_client.get(reverse(SAVE), {"name": "B", "query": "merged=no"}).status_code == 405
        assert admin_client.get(delete).status_code == 405
        stranger = client_of(person("stranger"))
        assert stranger.post(reverse(SAVE), {"name": "B", "query": "merged=no"}).status_code == 403
        assert stranger.post(delete).status_code == 403
        assert Client().post(delete).status_code == 302
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(admin_user)
        assert forged.post(delete).status_code == 403
        assert SavedFilter.objects.count() == 1


def test_a_list_with_filters_and_saved_ones_takes_a_fixed_number_of_queries(
    admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        pair = rows.sft_pair(**USED)
        rows.embedding(pair, cluster=1)
        admin_client.post(reverse(SAVE), {"name": f"F{number}", "query": "merged=no"})
    asked = {"is_used__exact": 1, "cluster": 1, "confidence_from": 0.5, "age": "-30", "q": "dog", "merged": "no"}
    # One of them for the name of the topic.
    with django_assert_num_queries(7):
        assert len(listed(admin_client, **asked)) == 20


def test_preference_pairs_have_no_button_to_what_a_viewer_may_not(admin_client: Client) -> None:
    rows.preference_pair()
    address = reverse("admin:memory_preferencepair_changelist")
    shown = client_of(person("viewer", "view_preferencepair")).get(address).content.decode()
    assert "/bulk/" not in shown
    assert "/import/" not in shown
    assert "/export/" in shown
    assert "/bulk/" in admin_client.get(address).content.decode()
    assert PreferencePair.objects.count() == 1
