"""The pages of the review: what they show, to whom."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoAssertNumQueries

from maintenance.models import Proposal
from memory import curation
from memory.extraction.refresh import REASON as BY_EXTRACTION
from memory.history import keep_originals, record
from memory.models import PreferencePair, SftPair
from tests.dualchannel_site.desk.review.people import curator, person, viewer
from tests.memory import rows
from training.models import PairUse, TrainingRun

pytestmark = pytest.mark.django_db

# Four of each are session, user and permissions, six the queue.
MEMORY_QUERIES = 22
PREFERENCE_QUERIES = 17
ATTACK = "<script>alert(1)</script> [click](javascript:alert(1)) <img src=x onerror=alert(1)>"


def address(pair: SftPair | PreferencePair) -> str:
    return reverse("desk:review_pair", args=["memory" if isinstance(pair, SftPair) else "preference", pair.pk])


def queue_page(channel: str = "memory") -> str:
    return reverse("desk:review", args=[channel])


@pytest.fixture
def desk(client: Client) -> Client:
    """A browser in which a curator is logged in."""
    client.force_login(curator())
    return client


def dialogue(*, drafts: int = 0, before: int = 0, name: str = "c1", **fields: Any) -> SftPair:
    """Store a conversation of `before` pairs of messages, a question, its answer and `drafts` other answers."""
    talk = rows.conversation(name, title="About the dog")
    parent = None
    for number in range(before):
        for role in ("user", "assistant"):
            parent = rows.message(
                talk, f"{role}{number}", role=role, parent=parent, content=f"{role.title()} says {number}."
            )
    question = rows.message(talk, "q", role="user", parent=parent, content="What is my dog called?")
    answer = rows.message(talk, "a", parent=question)
    for number in range(drafts):
        rows.message(
            talk,
            f"d{number}",
            parent=question,
            content=f"Draft {number}.",
            is_active_branch=False,
            reward_intensity=0.25,
            branch_position=number + 1,
        )
    return rows.sft_pair(conversation=talk, user_message=question, assistant_message=answer, **fields)


class TestWhoMayLook:
    @pytest.mark.parametrize("channel", ["memory", "preference"])
    def test_a_stranger_is_sent_to_the_login(self, channel: str, client: Client) -> None:
        response = client.get(queue_page(channel))
        assert response.status_code == 302
        assert response["Location"].startswith(reverse("admin:login"))

    @pytest.mark.parametrize(("channel", "codename"), [("memory", "sftpair"), ("preference", "preferencepair")])
    def test_the_permission_of_the_channel_counts(self, channel: str, codename: str, client: Client) -> None:
        client.force_login(person("one", f"view_{codename}"))
        other = "preference" if channel == "memory" else "memory"
        assert client.get(queue_page(channel)).status_code == 200
        assert client.get(queue_page(other)).status_code == 403

    def test_who_may_only_look_sees_the_pair_and_no_form(self, client: Client) -> None:
        pair = dialogue(response="It is Pixel, as ever.")
        client.force_login(viewer())
        page = client.get(address(pair)).content.decode()
        card = page[page.index('id="review-card"') :]
        assert "It is Pixel, as ever." in card
        assert "hx-post" not in card
        assert 'method="post"' not in card[: card.index("</article>")]

    def test_the_navigation_leads_there(self, client: Client) -> None:
        client.force_login(person("one", "view_sftpair"))
        page = client.get(reverse("admin:memory_sftpair_changelist")).content.decode()
        assert f'href="{queue_page("memory")}"' in page
        assert f'href="{queue_page("preference")}"' not in page


class TestWhichPair:
    def test_the_one_that_waits_first_is_there(self, desk: Client) -> None:
        rows.sft_pair(reward_intensity=0.1)
        first = rows.sft_pair(reward_intensity=0.9)
        assert desk.get(queue_page()).context["card"].pair == first

    def test_any_other_has_a_page_too_decided_or_not(self, desk: Client) -> None:
        rows.sft_pair(reward_intensity=0.9)
        decided = rows.sft_pair(review_status="rejected")
        response = desk.get(address(decided))
        assert response.context["card"].pair == decided
        assert 'value="reject"' not in response.content.decode()

    def test_an_empty_queue_says_so(self, desk: Client) -> None:
        for channel in ("memory", "preference"):
            assert "Nothing waits" in desk.get(queue_page(channel)).content.decode()

    @pytest.mark.parametrize(
        "path", ["memory/7/", "memory/99999999999999999999999/", "nonsense/", "nonsense/1/", "memory/0/"]
    )
    def test_what_is_not_there_is_not_found(self, path: str, desk: Client) -> None:
        assert desk.get(f"/admin/review/{path}").status_code == 404

    @pytest.mark.parametrize("name", ["decide", "undo", "unskip"])
    def test_nothing_is_changed_by_looking(self, name: str, desk: Client) -> None:
        pair = rows.sft_pair()
        arguments = ["memory", pair.pk] if name == "decide" else ["memory"]
        response = desk.get(reverse(f"desk:{name}", args=arguments), {"decision": "approve"})
        assert response.status_code == 405
        pair.refresh_from_db()
        assert pair.review_status == "pending"


class TestMemory:
    def test_the_trained_turn_is_marked_and_what_was_said_before_is_folded(self, desk: Client) -> None:
        pair = dialogue(before=1)
        page = desk.get(address(pair)).content.decode()
        folded = re.search(r"<details.*?</details>", page[page.index('class="review-talk"') :], re.DOTALL)
        assert folded is not None
        assert "2 messages before (not trained)" in " ".join(folded[0].split())
        assert folded[0].index("User says 0.") < folded[0].index("Assistant says 0.")
        trained = page[page.index("review-bubble--trained") :]
        assert "Pixel." in trained[:400]

    def test_a_context_that_is_trained_is_shown_instead(self, desk: Client) -> None:
        pair = dialogue(before=1, context=[{"role": "system", "content": "Be brief."}])
        talk = desk.get(address(pair)).context["card"].talk
        assert [(each.role, each.text) for each in talk.before] == [("system", "Be brief.")]
        assert talk.is_trained

    def test_of_a_long_conversation_the_last_messages_are_shown(self, desk: Client) -> None:
        talk = desk.get(address(dialogue(before=15))).context["card"].talk
        assert (len(talk.before), talk.has_more) == (20, True)
        assert talk.before[-1].text == "Assistant says 14."

    def test_another_branch_is_not_what_was_said_before(self, desk: Client) -> None:
        pair = dialogue(before=1)
        assert pair.conversation is not None
        start = pair.conversation.messages.get(external_id="user0")
        rows.message(pair.conversation, "other", parent=start, content="Elsewhere.")
        texts = [each.text for each in desk.get(address(pair)).context["card"].talk.before]
        assert texts == ["User says 0.", "Assistant says 0."]

    def test_what_the_person_said_then_is_there(self, desk: Client) -> None:
        pair = dialogue()
        assert pair.conversation is not None
        rows.message(pair.conversation, "next", role="user", parent=pair.assistant_message, content="No, Rex!")
        assert "No, Rex!" in desk.get(address(pair)).content.decode()

    def test_drafts_of_the_turn_are_beside_it_with_their_reward(self, desk: Client) -> None:
        pair = dialogue(drafts=2)
        assert pair.conversation is not None
        rows.message(pair.conversation, "thought", parent=pair.user_message, kind="introspection", content="Hm.")
        response = desk.get(address(pair))
        assert [each.message.content for each in response.context["card"].drafts] == ["Draft 0.", "Draft 1."]
        assert "reward 0.25" in response.content.decode()

    def test_similarity_is_the_cosine_of_stored_vectors_of_one_embedder(self, desk: Client) -> None:
        pair = dialogue(drafts=3)
        assert pair.conversation is not None
        unit, aside = bytes.fromhex("003c0000"), bytes.fromhex("cd38663a")  # (1, 0) and (0.6, 0.8) in float16
        rows.embedding(pair, vector=unit)
        for number, embedder in enumerate(["tiny", "other"]):
            message = pair.conversation.messages.get(external_id=f"d{number}")
            rows.embedding(
                rows.sft_pair(response=f"Draft {number}.", assistant_message=message), vector=aside, embedder=embedder
            )
        found = [each.similarity for each in desk.get(address(pair)).context["card"].drafts]
        assert found == [pytest.approx(0.6, abs=1e-3), None, None]

    def test_what_the_extraction_found_too_alike_keeps_the_similarity_found_then(self, desk: Client) -> None:
        pair = dialogue(drafts=1)
        assert pair.conversation is not None
        draft = pair.conversation.messages.get(external_id="d0")
        pair.metadata = {"collapsed_drafts": [{"message": draft.pk, "reason": "similar", "similarity": 0.93}]}
        pair.save()
        (shown,) = desk.get(address(pair)).context["card"].drafts
        assert shown.similarity == 0.93

    @pytest.mark.parametrize(
        "metadata",
        [[], {"collapsed_drafts": 3}, {"collapsed_drafts": [3, {}, {"message": [1], "similarity": "high"}]}],
    )
    def test_other_metadata_of_an_imported_pair_do_no_harm(self, metadata: Any, desk: Client) -> None:
        (shown,) = desk.get(address(dialogue(drafts=1, metadata=metadata))).context["card"].drafts
        assert shown.similarity is None

    def test_a_pair_without_a_conversation_is_shown_too(self, desk: Client) -> None:
        assert "Pixel." in desk.get(address(rows.sft_pair())).content.decode()

    def test_why_a_pair_is_not_trained_is_said(self, desk: Client) -> None:
        survivor = rows.sft_pair()
        merged = rows.sft_pair(merged_into=survivor)
        refused = rows.sft_pair(conversation=rows.conversation(training_allowed=False))
        archived = rows.sft_pair(archived_at=datetime(2026, 5, 1, tzinfo=UTC))
        for pair, words in [
            (merged, f"merged into pair {survivor.pk}"),
            (refused, "no consent"),
            (archived, "archived"),
            (rows.sft_pair(sampling_weight=0), "weighted to nothing"),
            (survivor, ""),
        ]:
            assert desk.get(address(pair)).context["card"].why_not_trained == words

    def test_proposals_name_the_other_pair_and_who_would_stay(self, desk: Client) -> None:
        newer, older = rows.sft_pair(response="Rex, since May."), rows.sft_pair(response="It was Pixel.")
        Proposal.objects.create(
            kind="correction", sft_pair=newer, other_sft_pair=older, similarity=0.95, reason="names: Rex / Pixel"
        )
        of_newer, of_older = (desk.get(address(pair)).content.decode() for pair in (newer, older))
        assert "This pair would stand for" in of_newer
        assert "It was Pixel." in of_newer
        assert "This pair would give way to" in of_older
        assert "names: Rex / Pixel" in of_older


class TestTakingBack:
    """The button on the page of a pair, for decisions that the session has forgotten."""

    @pytest.mark.parametrize("decision", ["approved", "merged", "re-emitted"])
    def test_it_is_there_for_every_decision_also_where_the_pair_waits_still(self, decision: str, desk: Client) -> None:
        used = {"is_used": True, "used_timestamp": datetime(2026, 5, 1, tzinfo=UTC), "training_epoch": 2}
        pair, other = rows.sft_pair(**used), rows.sft_pair()
        pairs, user = SftPair.objects.filter(pk=pair.pk), User.objects.get(username="curator")
        if decision == "approved":
            curation.approve(pairs=pairs, user=user)
        elif decision == "merged":
            curation.merge(pairs=pairs, into=other, user=user)
        else:
            curation.reemit(pairs=pairs, user=user, reason="")
        assert 'value="undo"' in desk.get(address(pair)).content.decode()

    def test_it_is_not_there_where_nobody_has_decided(self, desk: Client) -> None:
        pair = rows.sft_pair()
        keep_originals(SftPair.objects.all())
        record(SftPair.objects.all(), kind="~", user=None, reason=BY_EXTRACTION)
        response = desk.get(address(pair))
        assert response.context["card"].history
        assert 'value="undo"' not in response.content.decode()


@pytest.mark.parametrize("htmx", [True, False])
def test_a_text_that_came_too_late_is_still_in_its_field(htmx: bool, desk: Client) -> None:
    pair = rows.sft_pair()
    late = {"decision": "edit", "field": "response", "text": "Rex, since <May>.", "seen": "of yesterday"}
    to = reverse("desk:decide", args=["memory", pair.pk])
    response = desk.post(to, late, headers={"HX-Request": "true"} if htmx else {})
    assert response.status_code == 409
    (field,) = re.findall(r'<textarea id="review-response".*?</textarea>', response.content.decode(), re.DOTALL)
    # What is stored stands beside it, so that the page knows that the text is not saved.
    assert 'data-stored="Pixel."' in field
    assert "Rex, since &lt;May&gt;.</textarea>" in field


class TestPreferences:
    def test_both_answers_are_side_by_side_with_their_words_marked(self, desk: Client) -> None:
        pair = rows.preference_pair(chosen="The dog is called Rex.", rejected="The dog is called Pixel.")
        page = desk.get(address(pair)).content.decode()
        assert re.search(r"The dog is called <ins>Rex</ins>", page)
        assert re.search(r"The dog is called <del>Pixel</del>", page)

    def test_the_prompt_is_the_conversation(self, desk: Client) -> None:
        prompt = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Say hello."},
        ]
        card = desk.get(address(rows.preference_pair(prompt=prompt))).context["card"]
        assert (card.instruction, [each.text for each in card.talk.before]) == ("Say hello.", ["Be kind."])

    def test_only_they_can_be_swapped_or_tied(self, desk: Client) -> None:
        memory, preference = (
            desk.get(address(pair)).content.decode() for pair in (rows.sft_pair(), rows.preference_pair())
        )
        for decision in ("swap", "tie"):
            assert f'value="{decision}"' in preference
            assert f'value="{decision}"' not in memory


def test_nothing_that_was_said_is_run(desk: Client) -> None:
    pair = dialogue(before=1, drafts=1, instruction=ATTACK, response=ATTACK, category=ATTACK[:64])
    assert pair.conversation is not None
    pair.conversation.messages.update(content=ATTACK)
    pair.conversation.title = ATTACK
    pair.conversation.save()
    other = rows.sft_pair(response=ATTACK)
    Proposal.objects.create(kind="correction", sft_pair=pair, other_sft_pair=other, similarity=0.9, reason=ATTACK)
    preference = rows.preference_pair(
        chosen=ATTACK, rejected=f"{ATTACK}!", prompt=[{"role": role, "content": ATTACK} for role in ("system", "user")]
    )
    for each in (pair, other, preference):
        page = desk.get(address(each)).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert 'href="javascript:' not in page


def test_the_page_itself_runs_nothing_inline(desk: Client) -> None:
    page = desk.get(address(dialogue(before=1, drafts=1))).content.decode()
    ours = page[page.index('id="review"') : page.rindex("</dialog>")]
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=|javascript:", ours)


@pytest.mark.parametrize("size", [2, 15])
def test_a_memory_pair_takes_as_many_queries_for_a_short_talk_as_for_a_long_one(
    size: int, desk: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pair = dialogue(before=size, drafts=size)
    run = TrainingRun.objects.create(config_path="run.yaml", config={})
    for number in range(size):
        older = rows.sft_pair(response=f"Older {number}.")
        Proposal.objects.create(kind="correction", sft_pair=pair, other_sft_pair=older, similarity=0.9, reason="")
        PairUse.objects.create(run=run, sft_pair=pair, step=number + 1, epoch=0, weight=1.0, content_hash="0" * 64)
        dialogue(name=f"other {number}")
    with django_assert_num_queries(MEMORY_QUERIES):
        assert desk.get(queue_page()).context["card"].pair == pair


@pytest.mark.parametrize("size", [2, 15])
def test_so_does_a_preference_pair(size: int, desk: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    newest = rows.preference_pair(
        margin=1.0,
        prompt=[{"role": "user", "content": "Hello?"}] * size,
        conversation=rows.conversation(),
    )
    for number in range(size):
        other = rows.preference_pair(chosen=f"Answer {number}.")
        Proposal.objects.create(
            kind="correction", preference_pair=newest, other_preference_pair=other, similarity=0.9, reason=""
        )
    with django_assert_num_queries(PREFERENCE_QUERIES):
        assert desk.get(queue_page("preference")).context["card"].pair == newest
