"""Rows by one statement, keys that are handed out once."""

import pytest
from django.db import transaction
from pytest_django.fixtures import DjangoAssertNumQueries

from memory.bulk import insert_rows, key_list, reserve_ids, text_list
from memory.models import Conversation
from tests.memory import rows

COLUMNS = ["source_system", "external_id", "title", "participant", "training_allowed", "metadata"]


def values(external_id: str) -> list[object]:
    return ["native", external_id, "", "", True, {}]


@pytest.mark.django_db
def test_reserved_keys_are_never_handed_out_twice_even_before_they_are_used() -> None:
    with transaction.atomic():
        first, second = list(reserve_ids(Conversation, 5)), list(reserve_ids(Conversation, 3))
    assert len({*first, *second}) == 8


@pytest.mark.django_db
def test_reserved_keys_are_free_and_stay_free_of_rows_stored_since() -> None:
    before = rows.conversation("before")
    with transaction.atomic():
        reserved = list(reserve_ids(Conversation, 4))
        since = rows.conversation("since")
    assert len(reserved) == 4
    assert not {before.pk, since.pk} & set(reserved)


@pytest.mark.django_db
def test_rows_can_be_stored_under_reserved_keys() -> None:
    with transaction.atomic():
        keys = list(reserve_ids(Conversation, 2))
        stored = insert_rows(Conversation, ["id", *COLUMNS], [[key, *values(f"c{key}")] for key in keys])
    assert stored == 2
    assert sorted(Conversation.objects.values_list("pk", flat=True)) == sorted(keys)


@pytest.mark.django_db
def test_keys_are_not_handed_out_again_after_their_rows_are_gone() -> None:
    gone = rows.conversation("gone").pk
    Conversation.objects.all().delete()
    with transaction.atomic():
        assert gone not in reserve_ids(Conversation, 3)


@pytest.mark.django_db
def test_a_row_that_is_there_is_passed_over_and_not_counted() -> None:
    rows.conversation("c1", title="kept")
    assert insert_rows(Conversation, COLUMNS, [values("c1"), values("c2")], ignore_conflicts=True) == 1
    assert Conversation.objects.get(external_id="c1").title == "kept"


@pytest.mark.django_db
def test_no_rows_are_no_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert insert_rows(Conversation, COLUMNS, []) == 0


@pytest.mark.django_db
def test_a_list_of_any_length_is_one_parameter() -> None:
    stored = [rows.conversation(f"c{number}") for number in range(3)]
    keys = [stored[0].pk, *range(10**6, 10**6 + 40_000)]
    assert list(Conversation.objects.filter(pk__in=key_list(keys, using="default"))) == [stored[0]]
    names = ["c2", *(f"no {number}" for number in range(40_000))]
    assert list(Conversation.objects.filter(external_id__in=text_list(names, using="default"))) == [stored[2]]
