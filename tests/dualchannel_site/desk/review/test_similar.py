"""The pairs that are most like one under review."""

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries

from dualchannel_site.desk.review import similar
from memory import nearest
from memory.embeddings import to_bytes
from memory.models import PairEmbedding, PreferencePair, SftPair
from tests.dualchannel_site.desk.review.people import curator, person, viewer
from tests.memory import rows

pytestmark = pytest.mark.django_db


def at(degrees: float, pair: SftPair | PreferencePair) -> Any:
    """Give `pair` a vector of that angle; return the pair."""
    owner = "sft_pair" if isinstance(pair, SftPair) else "preference_pair"
    vector = to_bytes(np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32))
    PairEmbedding.objects.create(**{owner: pair}, embedder="tiny", dimension=2, vector=vector)
    return pair


def get(client: Client, pair: SftPair | PreferencePair, *, htmx: bool = True) -> Any:
    channel = "memory" if isinstance(pair, SftPair) else "preference"
    return client.get(reverse("desk:similar", args=[channel, pair.pk]), headers={"HX-Request": "true"} if htmx else {})


def shown(response: HttpResponse) -> list[int]:
    return [int(pk) for pk in re.findall(r">pair (\d+)</a>", response.content.decode())]


def buttons(response: HttpResponse) -> list[tuple[str, str]]:
    return re.findall(r'name="decision" value="(\w+)"[^>]*>([^<]*)<', response.content.decode())


@pytest.fixture
def curating(client: Client) -> Client:
    client.force_login(curator())
    return client


def test_the_nearest_pairs_are_shown_with_similarity_texts_and_status(curating: Client) -> None:
    pair = at(0, rows.sft_pair())
    far = at(60, rows.sft_pair(response="Rex.", review_status="rejected"))
    said = {"instruction": "And my dog's name?", "response": "Pixel, as you said."}
    near = at(10, rows.sft_pair(**said, review_status="approved"))
    response = get(curating, pair)
    assert shown(response) == [near.pk, far.pk]
    page = response.content.decode()
    for text in ("And my dog&#x27;s name?", "Pixel, as you said.", "similarity 0.985 · approved", "similarity 0.5"):
        assert text in page
    assert "rejected" in page
    assert "<html" not in page


def test_without_javascript_they_are_a_page_of_their_own(curating: Client) -> None:
    pair, other = at(0, rows.sft_pair()), at(5, rows.sft_pair())
    response = get(curating, pair, htmx=False)
    assert shown(response) == [other.pk]
    page = response.content.decode()
    back = reverse("desk:review_pair", args=["memory", pair.pk])
    assert f'href="{back}">Back to pair {pair.pk}</a>' in page
    # There is no card that the forms' answers could take the place of.
    assert re.search(r"hx-disable>.*<form", page, re.DOTALL)


def test_either_pair_may_stand_for_the_other(curating: Client) -> None:
    pair, other = at(0, rows.sft_pair()), at(5, rows.sft_pair())
    response = get(curating, pair)
    assert buttons(response) == [
        ("absorb", f"This one stands for {other.pk}"),
        ("merge", f"{other.pk} stands for this one"),
    ]
    address = reverse("desk:decide", args=["memory", pair.pk])
    assert f'action="{address}"' in response.content.decode()


@pytest.mark.parametrize(("decision", "standing"), [("absorb", "pair"), ("merge", "other")])
def test_a_merge_is_made_from_there(decision: str, standing: str, curating: Client) -> None:
    pairs = {"pair": at(0, rows.sft_pair()), "other": at(5, rows.sft_pair())}
    page = get(curating, pairs["pair"]).content.decode()
    fields = dict(re.findall(r'name="(seen|into|other|other_seen)" value="(\w+)"', page))
    assert fields.keys() == {"seen", "into", "other", "other_seen"}
    address = reverse("desk:decide", args=["memory", pairs["pair"].pk])
    other = SftPair.objects.filter(pk=pairs["other"].pk)
    other.update(confidence=0.5)
    assert curating.post(address, {**fields, "decision": decision}).status_code == 409
    assert not SftPair.objects.exclude(merged_into=None).exists()
    other.update(confidence=1.0)
    assert curating.post(address, {**fields, "decision": decision}).status_code == 302
    stands = pairs.pop(standing)
    (merged,) = pairs.values()
    merged.refresh_from_db()
    assert merged.merged_into == stands


@pytest.mark.parametrize(
    ("of_pair", "of_other", "offered"),
    [
        ({"review_status": "rejected"}, {}, ["merge"]),
        ({}, {"review_status": "rejected"}, ["absorb"]),
        ({"archived_at": datetime(2026, 5, 1, tzinfo=UTC)}, {}, ["merge"]),
        ({"review_status": "rejected"}, {"review_status": "rejected"}, []),
    ],
)
def test_a_pair_that_is_not_trained_is_not_offered_to_stand_for_others(
    of_pair: dict[str, Any], of_other: dict[str, Any], offered: list[str], curating: Client
) -> None:
    pair = at(0, rows.sft_pair(**of_pair))
    at(5, rows.sft_pair(**of_other))
    assert [decision for decision, _ in buttons(get(curating, pair))] == offered


def test_pairs_that_another_one_stands_for_are_left_out(curating: Client) -> None:
    pair = at(0, rows.sft_pair())
    for _ in range(3):
        at(1, rows.sft_pair(merged_into=pair))
    other = at(40, rows.sft_pair())
    assert shown(get(curating, pair)) == [other.pk]


def test_preferences_are_shown_with_both_answers(curating: Client) -> None:
    pair, other = at(0, rows.preference_pair()), at(5, rows.preference_pair(chosen="Good day."))
    response = get(curating, pair)
    assert shown(response) == [other.pk]
    assert "Good day." in response.content.decode()
    assert other.rejected in response.content.decode()


def test_texts_are_clipped_and_never_read_as_html(curating: Client) -> None:
    pair = at(0, rows.sft_pair())
    at(5, rows.sft_pair(response="<script>alert(1)</script>" + "x" * 10_000))
    page = get(curating, pair).content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "x" * 500 in page
    assert "x" * 601 not in page


def test_a_pair_without_a_vector_says_so(curating: Client) -> None:
    assert "no vector yet" in get(curating, rows.sft_pair()).content.decode()


def test_an_incomplete_search_says_so(curating: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = at(0, rows.sft_pair())
    for _ in range(3):
        at(1, rows.sft_pair())
    assert "may be nearer" not in get(curating, pair).content.decode()
    monkeypatch.setattr(nearest, "MOST_COMPARED", 2)
    assert "may be nearer" in get(curating, pair).content.decode()


def test_who_may_only_look_sees_the_pairs_and_no_button(client: Client) -> None:
    pair, other = at(0, rows.sft_pair()), at(5, rows.sft_pair())
    client.force_login(viewer())
    response = get(client, pair)
    assert (response.status_code, shown(response), buttons(response)) == (200, [other.pk], [])


def test_nobody_else_sees_anything(client: Client) -> None:
    pair = at(0, rows.sft_pair())
    assert get(client, pair).status_code == 302
    client.force_login(person("guest"))
    assert get(client, pair).status_code == 403
    client.force_login(person("half", "view_preferencepair"))
    assert get(client, pair).status_code == 403


def test_what_is_not_there_is_not_found(curating: Client) -> None:
    assert curating.get(reverse("desk:similar", args=["memory", 12345])).status_code == 404
    assert curating.get(reverse("desk:similar", args=["neither", 1])).status_code == 404


def test_nothing_is_posted_there(curating: Client) -> None:
    pair = at(0, rows.sft_pair())
    assert curating.post(reverse("desk:similar", args=["memory", pair.pk])).status_code == 405


def test_the_number_of_queries_is_fixed(curating: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    pair = at(0, rows.sft_pair())
    at(1, rows.sft_pair())
    get(curating, pair)
    with django_assert_num_queries(11):
        get(curating, pair)
    for _ in range(similar.SHOWN + 5):
        at(1, rows.sft_pair())
    with django_assert_num_queries(11):
        assert len(shown(get(curating, pair))) == similar.SHOWN
