"""No page runs or loads what is not the site's own; logins are throttled; requests are bounded and signed."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from dualchannel_site.client_address import client_address
from dualchannel_site.desk import uploads
from tests.dualchannel_site.desk.addresses import all_addresses
from tests.dualchannel_site.desk.stock import stock

POLICY = {
    "default-src 'self'",
    "script-src 'self' 'unsafe-eval'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
}


class Findings(HTMLParser):
    """What of a page a strict policy would refuse, or what comes from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        is_data = attributes.get("type", "").endswith("json")
        if tag == "script" and "src" not in attributes and not is_data:
            self.found.append("inline script")
        self.found += [f"{tag} {name}" for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "formaction", "srcset", "poster", "data"):
            value = attributes.get(name, "").strip().lower()
            if value.startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")
            if value.startswith(("http:", "https:", "//")) and (tag != "a"):
                self.found.append(f"{tag} {name}={value}")


@pytest.fixture
def person(db: None) -> User:
    return User.objects.create_superuser("anna", password="a long dog's name")


def log_in(password: str, *, name: str = "anna", address: str = "192.0.2.1", **headers: str) -> HttpResponse:
    sent = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post(reverse("admin:login"), sent, headers=headers)  # type: ignore[return-value]


@pytest.mark.django_db
def test_every_page_forbids_scripts_in_it_and_loads_from_elsewhere_and_has_none(admin_client: Client) -> None:
    stock()
    found = {}
    for address in all_addresses():
        response = admin_client.get(address.path, address.query)
        assert set(response["Content-Security-Policy"].split("; ")) == POLICY, address.name
        if response.headers.get("Content-Type", "").startswith("text/html"):
            found[address.name] = Findings(response.content.decode()).found
    assert len(found) > 50
    assert {name: what for name, what in found.items() if what} == {}


def test_what_would_be_refused_is_found() -> None:
    page = (
        '<script>a</script><script type="application/json">{}</script><script src="/a.js"></script>'
        '<a href="javascript:a" onclick="a">a</a><img src="https://example.org/a.png"><a href="https://example.org">a</a>'
    )
    assert Findings(page).found == [
        "inline script",
        "a onclick",
        "a href=javascript:a",
        "img src=https://example.org/a.png",
    ]


def test_every_page_says_that_it_is_not_to_be_framed_sniffed_or_told_to_others(client: Client) -> None:
    response = client.get(reverse("admin:login"))
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.django_db
def test_nothing_is_taken_without_the_token_of_the_session() -> None:
    stock()
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("anna"))
    got = {address.name: client.post(address.path, {"post": "yes"}).status_code for address in all_addresses()}
    # The catalogue of translated words only answers a GET.
    assert {name: status for name, status in got.items() if status not in {403, 405}} == {}
    assert list(got.values()).count(403) > 50


def test_a_session_lasts_a_working_day_out_of_reach_of_scripts_and_other_sites(person: User) -> None:
    response = log_in("a long dog's name")
    assert response.status_code == 302
    session = response.cookies["sessionid"]
    assert (session["httponly"], session["samesite"], session["max-age"]) == (True, "Lax", 12 * 60 * 60)


def test_five_failures_lock_a_name_out_from_one_address(person: User) -> None:
    answers = [log_in("wrong").status_code for _ in range(6)]
    assert answers == [200, 200, 200, 200, 429, 429]
    assert log_in("a long dog's name").status_code == 429
    assert log_in("a long dog's name", address="192.0.2.2").status_code == 302
    User.objects.create_superuser("bert", password="another dog's name")
    assert log_in("another dog's name", name="bert").status_code == 302


def test_who_is_locked_out_learns_it_on_a_page_of_the_site(person: User) -> None:
    for _ in range(5):
        response = log_in("wrong")
    page = response.content.decode()
    assert response.status_code == 429
    assert "5 logins under this name failed from your address." in page
    assert "Try again in 60 minutes." in page
    assert "unfold/css/styles.css" in page
    assert "anna" not in page


def test_after_an_hour_the_door_is_open_again(person: User) -> None:
    for _ in range(5):
        log_in("wrong")
    failed_at = AccessAttempt.objects.get().attempt_time
    for passed, status in [(59, 429), (61, 302)]:
        AccessAttempt.objects.update(attempt_time=failed_at - timedelta(minutes=passed))
        assert log_in("a long dog's name").status_code == status


def test_a_login_forgets_the_failures_before_it(person: User) -> None:
    for _ in range(2):
        assert [log_in("wrong").status_code for _ in range(4)] == [200] * 4
        assert log_in("a long dog's name").status_code == 302


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (0, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "10.0.0.1, 203.0.113.9", "203.0.113.9"),
        (2, "10.0.0.1, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, " , ", "192.0.2.1"),
    ],
)
def test_behind_a_proxy_the_client_is_whom_the_proxy_names(
    settings: Any, proxies: int, forwarded: str, expected: str
) -> None:
    settings.PROXY_COUNT = proxies
    request = RequestFactory(REMOTE_ADDR="192.0.2.1").get("/", headers={"X-Forwarded-For": forwarded})
    assert client_address(request) == expected


def test_a_client_that_invents_addresses_is_locked_out_all_the_same(person: User, settings: Any) -> None:
    settings.PROXY_COUNT = 1
    for number in range(5):
        response = log_in("wrong", **{"X-Forwarded-For": f"10.0.0.{number}, 203.0.113.9"})
    assert response.status_code == 429


def upload(size: int) -> Any:
    files = {"file": SimpleUploadedFile("pairs.jsonl", b"x" * size)}
    return RequestFactory().post("/", files)


def test_an_upload_goes_to_disk_and_is_gone_after_the_request() -> None:
    request = upload(10)
    file = request.FILES["file"]
    assert isinstance(file, TemporaryUploadedFile)
    path = Path(file.temporary_file_path())
    assert path.read_bytes() == b"x" * 10
    request.close()
    assert not path.exists()


def test_an_upload_above_the_bound_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_MAX_BYTES", 1000)
    with pytest.raises(RequestDataTooBig, match=r"^got an upload of \d{4} bytes, allowed 1000$"):
        _ = upload(1001).FILES


def test_an_upload_that_says_it_is_smaller_is_refused_where_the_bound_is() -> None:
    handler = uploads.BoundedUploadHandler()
    handler.handle_raw_input(None, {}, 10, b"")
    handler.new_file("file", "pairs.jsonl", "text/plain", 10)
    path = Path(handler.file.temporary_file_path())
    piece = b"x" * (uploads.UPLOAD_MAX_BYTES // 4)
    for number in range(4):
        handler.receive_data_chunk(piece, number * len(piece))
    with pytest.raises(RequestDataTooBig) as refused:
        handler.receive_data_chunk(b"x", 4 * len(piece))
    assert str(refused.value) == "got an upload of more than the 67108864 bytes that are allowed"
    assert not path.exists()


@pytest.mark.django_db
def test_a_form_of_more_than_five_million_bytes_is_refused(admin_client: Client) -> None:
    url = reverse("admin:memory_sftpair_add")
    assert admin_client.post(url, {"instruction": "x" * (5 * 1024 * 1024 - 10_000)}).status_code == 200
    assert admin_client.post(url, {"instruction": "x" * 5 * 1024 * 1024}).status_code == 400


@pytest.mark.django_db
def test_who_sent_too_much_learns_how_much_is_allowed(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_MAX_BYTES", 1000)
    file = SimpleUploadedFile("pairs.jsonl", b"x" * 1001)
    response = admin_client.post(reverse("admin:memory_sftpair_import"), {"import_file": file})
    assert response.status_code == 400
    assert re.fullmatch(r"got an upload of \d{4} bytes, allowed 1000\n", response.content.decode())


@pytest.mark.django_db
def test_other_suspicious_requests_learn_nothing(client: Client) -> None:
    response = client.get(reverse("admin:login"), headers={"Host": "evil.example"})
    assert (response.status_code, response.content) == (400, b"Bad request.\n")


@pytest.mark.django_db
def test_what_is_not_there_is_answered_with_a_page_of_the_site(admin_client: Client, client: Client) -> None:
    missing = reverse("desk:review_pair", args=["memory", 4242])
    response = admin_client.get(missing)
    assert response.status_code == 404
    assert "pair: got 4242, allowed the number of a pair of this channel" in response.content.decode()
    assert "unfold/css/styles.css" in response.content.decode()
    assert client.get("/nothing-here/").status_code == 404
    shown = client.get("/%3Cscript%3Ealert(1)%3C/script%3E").content.decode()
    assert "<script>alert" not in shown


@pytest.mark.django_db
def test_who_may_not_is_told_on_a_page_of_the_site(client: Client) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    response = client.get(reverse("desk:jobs"))
    assert response.status_code == 403
    assert "needed: desk.view_job" in response.content.decode()
