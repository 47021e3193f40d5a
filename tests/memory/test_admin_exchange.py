"""Pairs out of the desk into files and back."""

import csv
import io
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from memory.exchange import files, resources, storing
from memory.exchange.formats import csv_lines, json_lines
from memory.exchange.formulas import guarded, unguarded
from memory.exchange.resources import MemoryPairResource, pages
from memory.models import PreferencePair, SftPair
from tests.memory import rows
from tests.people import client_of, person

CSV, JSONL = "0", "1"
GOOD = "instruction,response\nWhat is my dog called?,Pixel.\n"
LONG_AGO = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _uploads_go_to_a_folder_of_the_test(settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACTS_DIR = tmp_path


def export(client: Client, kind: str, query: str = "", model: str = "sftpair") -> str:
    response: Any = client.post(reverse(f"admin:memory_{model}_export"), {"format": kind, "query": query})
    assert response.status_code == 200
    assert response["Content-Disposition"].endswith(f'.{kind}"')
    return b"".join(response.streaming_content).decode()


def look(client: Client, text: str | bytes, kind: str = CSV, model: str = "sftpair") -> Any:
    """Upload a file; return the page with what would come of it."""
    content = text.encode() if isinstance(text, str) else text
    upload = SimpleUploadedFile("pairs.csv" if kind == CSV else "pairs.jsonl", content)
    return client.post(reverse(f"admin:memory_{model}_import"), {"import_file": upload, "format": kind, "resource": ""})


def bring_in(client: Client, text: str, kind: str = CSV, model: str = "sftpair") -> str:
    """Upload a file and confirm; return what the desk says."""
    page = look(client, text, kind, model)
    form = page.context["confirm_form"].initial
    answer = client.post(reverse(f"admin:memory_{model}_process_import"), form, follow=True)
    return str(next(iter(answer.context["messages"])))


class TestFormulas:
    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
    def test_what_a_spreadsheet_would_calculate_is_guarded(self, start: str) -> None:
        assert guarded(f"{start}1+1") == f"'{start}1+1"

    @pytest.mark.parametrize("cell", ["", "1", "a=b", "'quoted'", " =1", "https://"])
    def test_other_cells_stay_as_they_are(self, cell: str) -> None:
        assert guarded(cell) == cell == unguarded(cell)

    @given(st.text(alphabet="'=+-@\t\r\nax"))
    def test_every_cell_comes_back_as_it_was(self, cell: str) -> None:
        assert unguarded(guarded(cell)) == cell

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=2, max_size=3))
    def test_a_row_of_any_texts_comes_back_as_it_was(self, cells: list[str]) -> None:
        text = "".join(csv_lines([cells])).removeprefix("\ufeff")
        (back,) = csv.reader(io.StringIO(text, newline=""))
        assert [unguarded(cell) for cell in back] == cells


@pytest.mark.django_db
class TestExport:
    def test_csv_has_the_rows_of_the_filter_newest_first_without_formulas(self, admin_client: Client) -> None:
        rows.sft_pair(confidence=0.9)
        for answer in ("=HYPERLINK(1)", "Plain, with “quotes”\nand lines"):
            rows.sft_pair(
                response=answer, confidence=0.2, created_at=LONG_AGO, context=[{"role": "user", "content": "Hi"}]
            )
        text = export(admin_client, "csv", "confidence_to=0.5")
        first, second = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
        assert (first["response"], second["response"]) == ("Plain, with “quotes”\nand lines", "'=HYPERLINK(1)")
        assert json.loads(first["context"]) == [{"role": "user", "content": "Hi"}]
        assert (first["confidence"], first["review_status"]) == ("0.2", "pending")
        assert first["created_at"].startswith("2026-01-01T12:30:15.123456")

    def test_jsonl_is_what_trl_reads(self, admin_client: Client) -> None:
        rows.sft_pair(context=[{"role": "system", "content": "Be brief."}])
        rows.preference_pair()
        assert json.loads(export(admin_client, "jsonl")) == {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What is my dog called?"},
            ],
            "completion": [{"role": "assistant", "content": "Pixel."}],
        }
        assert json.loads(export(admin_client, "jsonl", model="preferencepair")) == {
            "prompt": [{"role": "user", "content": "Say hello."}],
            "chosen": [{"role": "assistant", "content": "Hello."}],
            "rejected": [{"role": "assistant", "content": "Oh, what a lovely day to say hello!"}],
        }

    def test_who_exported_what_is_on_record(self, admin_client: Client, admin_user: User) -> None:
        export(admin_client, "csv", "merged=no")
        entry = LogEntry.objects.get()
        assert (entry.user, entry.change_message) == (admin_user, "exported as csv: merged=no")

    @pytest.mark.parametrize(
        ("form", "problem"),
        [
            ({"format": "xlsx"}, "format: got &#x27;xlsx&#x27;, allowed csv, jsonl"),
            ({"format": "csv", "query": "nonsense=1"}, "allowed the filters of this list"),
        ],
    )
    def test_nonsense_is_refused_with_one_line(self, form: dict[str, str], problem: str, admin_client: Client) -> None:
        response = admin_client.post(reverse("admin:memory_sftpair_export"), form)
        assert response.status_code == 400
        assert problem in response.content.decode()

    def test_a_viewer_may_and_a_stranger_may_not(self, admin_user: User) -> None:
        address, form = reverse("admin:memory_sftpair_export"), {"format": "csv"}
        assert client_of(person("viewer", "view_sftpair")).post(address, form).status_code == 200
        assert client_of(person("stranger", "view_message")).post(address, form).status_code == 403
        assert Client().post(address, form).status_code == 302
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(admin_user)
        assert forged.post(address, form).status_code == 403
        assert forged.get(address).status_code == 405

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["csv", "jsonl"])
    def test_memory_does_not_grow_with_the_number_of_pairs(self, kind: str) -> None:
        def peak(count: int) -> int:
            new = [rows.unsaved_sft_pair(response=f"{count} {number} " + "x" * 500) for number in range(count)]
            SftPair.objects.insert(new)
            del new
            tracemalloc.start()
            everything = SftPair.objects.all()
            lines = (
                csv_lines(MemoryPairResource().cells(everything))
                if kind == "csv"
                else json_lines(pages(everything.only("context", "instruction", "response")))
            )
            assert sum(len(line) for line in lines) > count * 500
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        few = peak(4_000)
        assert peak(12_000) < 1.3 * few


@pytest.mark.django_db
class TestImport:
    def test_the_look_changes_nothing_and_the_import_says_what_came_of_it(
        self, admin_client: Client, admin_user: User
    ) -> None:
        rows.sft_pair()
        text = (
            "instruction,response,confidence,created_at\r\n"
            "What is my dog called?,Pixel.,1,\r\n"
            "What is my cat called?,'=Tom,0.5,2026-05-01T10:00:00Z\r\n"
            "What is my cat called?,'=Tom,0.5,\r\n"
            "?,Nothing,1,\r\n"
            "A good question?,An answer,much,\r\n"
        )
        page = look(admin_client, text)
        outcome = page.context["result"].outcome
        assert (outcome.created, outcome.already_present, outcome.refused) == (1, 2, 2)
        shown = page.content.decode()
        assert "line 5: instruction: got 1 characters, allowed 2 or more" in shown
        assert "line 6: confidence: got &#x27;much&#x27;, allowed a number" in shown
        assert SftPair.objects.count() == 1
        said = bring_in(admin_client, text)
        assert said == "Import finished: 1 new, 2 stored before, 2 left out."
        pair = SftPair.objects.latest("pk")
        assert (pair.response, pair.confidence, pair.source, pair.review_status) == ("=Tom", 0.5, "import", "pending")
        assert pair.created_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
        assert LogEntry.objects.get().user == admin_user

    @pytest.mark.parametrize(("kind", "number"), [("csv", CSV), ("jsonl", JSONL)])
    def test_what_was_exported_comes_back(self, kind: str, number: str, admin_client: Client) -> None:
        rows.sft_pair(response="=1+1\r\n'quoted', \"twice\"", context=[{"role": "user", "content": "Hi"}])
        rows.sft_pair(instruction="And my cat?", context=[])
        rows.preference_pair(chosen="-5 degrees")
        texts = {model: export(admin_client, kind, model=model) for model in ("sftpair", "preferencepair")}
        SftPair.objects.all().delete()
        PreferencePair.objects.all().delete()
        for model, text in texts.items():
            count = 2 if model == "sftpair" else 1
            assert bring_in(admin_client, text, number, model).startswith(f"Import finished: {count} new")
        pair, preference = SftPair.objects.exclude(instruction="And my cat?").get(), PreferencePair.objects.get()
        assert SftPair.objects.get(instruction="And my cat?").context == []
        assert pair.response == "=1+1\r\n'quoted', \"twice\""
        assert pair.context == [{"role": "user", "content": "Hi"}]
        assert (preference.chosen, preference.prompt) == ("-5 degrees", [{"role": "user", "content": "Say hello."}])

    @pytest.mark.parametrize(
        ("model", "columns", "records"),
        [
            (
                "sftpair",
                "context, category, confidence, reward_intensity, created_at",
                "prompt and completion, or messages that end with user, assistant",
            ),
            ("preferencepair", "margin, confidence, created_at", "prompt, chosen and rejected"),
        ],
    )
    def test_the_page_says_what_of_an_export_comes_in(
        self, model: str, columns: str, records: str, admin_client: Client
    ) -> None:
        page = admin_client.get(reverse(f"admin:memory_{model}_import")).content.decode()
        assert f"as far as there are any, {columns};" in page
        assert f"one record a line with {records}." in page
        assert "An export as JSONL holds the texts alone" in page
        assert "what was rejected comes back as pending" in page

    def test_a_second_import_brings_nothing(self, admin_client: Client) -> None:
        text = '{"prompt": "What is my dog called?", "completion": "Pixel."}\n'
        bring_in(admin_client, text, JSONL)
        page = look(admin_client, text, JSONL)
        assert "Nothing to import." in page.content.decode()
        assert SftPair.objects.count() == 1

    def test_what_a_person_rejected_into_an_archive_file_does_not_come_back(self, admin_client: Client) -> None:
        hashed = rows.unsaved_sft_pair()
        hashed.prepare()
        rows.exported_pair(content_hash=hashed.content_hash)
        page = look(admin_client, "instruction,response\nWhat is my dog called?,Pixel.\n")
        assert page.context["result"].outcome.already_present == 1

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "got no JSON"),
            ("[1]", "got list, allowed a JSON object"),
            ('{"prompt": "Hello?", "chosen": "A!", "rejected": "B!"}', "allowed prompt and completion"),
            ('{"completion": "Pixel."}', "allowed"),
            ('{"prompt": 3, "completion": "Pixel."}', "prompt: got 3"),
            ("[" * 100_000, "got no JSON"),
            ('{"prompt": "Hello?", "completion": ""}', "response: got 0 characters"),
        ],
    )
    def test_a_line_that_is_no_record_is_told(self, line: str, reason: str, admin_client: Client) -> None:
        page = look(admin_client, line, JSONL)
        (bad,) = page.context["result"].outcome.bad_rows
        assert bad.line == 1
        assert reason in bad.reason

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"\xff\xfe\x00a,b\n", "file: got no CSV in UTF-8"),
            (b"question,answer\n1,2\n", "file: got 2 columns without instruction, response"),
            (b"\n", "file: got 0 columns without instruction, response"),
        ],
    )
    def test_a_file_that_is_no_csv_of_pairs_is_refused(
        self, content: bytes, problem: str, admin_client: Client
    ) -> None:
        assert problem in look(admin_client, content).content.decode()

    def test_bytes_that_are_no_text_end_the_file_and_are_told(self, admin_client: Client) -> None:
        good = b"instruction,response\nWhat is my dog called?,Pixel.\n"
        page = look(admin_client, good + b"x" * 100_000 + b"\n\xff\xff,b\n")
        assert page.context["result"].outcome.refused >= 1
        assert "the rest of the file is left out" in page.content.decode()

    def test_a_file_that_is_too_large_is_refused(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("memory.admin.exchange.MAX_IMPORT_BYTES", 10)
        page = look(admin_client, "instruction,response\nWhat is my dog called?,Pixel.\n")
        assert "or less; a larger one goes through" in page.content.decode()
        assert files.MAX_IMPORT_BYTES == 32 * 1024 * 1024

    @pytest.mark.parametrize("name", ["../../etc/passwd", "0" * 32, "", "x"])
    def test_only_what_was_uploaded_here_is_imported_or_deleted(
        self, name: str, admin_client: Client, tmp_path: Path
    ) -> None:
        kept = tmp_path / "uploads" / "x"
        kept.parent.mkdir()
        kept.write_text("instruction,response\nWhat is my dog called?,Pixel.\n")
        form = {"import_file_name": name, "original_file_name": "a", "format": CSV, "resource": ""}
        admin_client.post(reverse("admin:memory_sftpair_process_import"), form)
        assert kept.exists()
        assert not SftPair.objects.exists()

    def test_a_format_that_does_not_exist_is_told(self, admin_client: Client) -> None:
        form = {"import_file_name": "0" * 32, "original_file_name": "a", "format": "99", "resource": ""}
        answer = admin_client.post(reverse("admin:memory_sftpair_process_import"), form, follow=True)
        assert "upload it again" in answer.content.decode()

    @pytest.mark.parametrize(
        ("forged", "said"), [({"format": "99"}, "format: got '99', allowed 0, 1"), ({"resource": "9"}, "1 new")]
    )
    def test_a_confirmation_that_the_page_did_not_write_is_no_fault(
        self, forged: dict[str, str], said: str, admin_client: Client
    ) -> None:
        form = {**look(admin_client, GOOD).context["confirm_form"].initial, **forged}
        answer = admin_client.post(reverse("admin:memory_sftpair_process_import"), form, follow=True)
        assert said in str(next(iter(answer.context["messages"])))

    def test_a_file_that_is_confirmed_twice_at_the_same_time_is_imported_once(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        form = look(admin_client, GOOD).context["confirm_form"].initial
        address, store = reverse("admin:memory_sftpair_process_import"), storing.store
        said: list[str] = []

        def confirm() -> None:
            said.extend(map(str, admin_client.post(address, form, follow=True).context["messages"]))

        def store_after_another_click(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(resources, "store", store)
            confirm()
            return store(*arguments, **options)

        monkeypatch.setattr(resources, "store", store_after_another_click)
        confirm()
        confirm()
        assert [line.partition(";")[0] for line in said] == [
            "file: it is being imported already",
            "Import finished: 1 new, 0 stored before, 0 left out.",
            "file: the uploaded file is gone",
        ]

    def test_an_import_that_failed_can_be_repeated(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        form = look(admin_client, GOOD).context["confirm_form"].initial
        with monkeypatch.context() as broken, pytest.raises(ValueError, match="disk"):
            broken.setattr(resources, "store", Mock(side_effect=ValueError("disk")))
            admin_client.post(reverse("admin:memory_sftpair_process_import"), form)
        answer = admin_client.post(reverse("admin:memory_sftpair_process_import"), form, follow=True)
        assert "Import finished: 1 new" in answer.content.decode()

    def test_the_upload_is_gone_after_the_import(self, admin_client: Client, tmp_path: Path) -> None:
        bring_in(admin_client, "instruction,response\nWhat is my dog called?,Pixel.\n")
        assert list((tmp_path / "uploads").iterdir()) == []

    def test_only_who_may_add_pairs_imports_them(self, admin_user: User) -> None:
        viewer = client_of(person("viewer", "view_sftpair", "change_sftpair"))
        text = "instruction,response\nWhat is my dog called?,Pixel.\n"
        assert look(viewer, text).status_code == 403
        assert viewer.get(reverse("admin:memory_sftpair_import")).status_code == 403
        assert viewer.post(reverse("admin:memory_sftpair_process_import"), {}).status_code == 403
        assert look(client_of(person("curator", "view_sftpair", "add_sftpair")), text).status_code == 200
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(admin_user)
        assert look(forged, text).status_code == 403

    def test_hostile_texts_are_shown_as_words(self, admin_client: Client) -> None:
        page = look(admin_client, "instruction,response\n<script>alert(1)</script>,<img src=x onerror=1>\n?,x\n")
        assert "<script>alert" not in page.content.decode()
        assert "<img src=x" not in page.content.decode()
