"""Each role sees and does what the table says, at every address of the site; reading changes nothing."""

import hashlib
import json
from io import StringIO

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.urls import reverse

from dualchannel_site.desk.roles import READ_APPS, ROLES, set_up_roles
from memory.models import SftPair
from tests.dualchannel_site.desk.addresses import all_addresses
from tests.dualchannel_site.desk.stock import stock

pytestmark = pytest.mark.django_db

PEOPLE = ("viewer", "curator", "operator", "superuser")
# Who may open a page.
EVERYBODY = frozenset({"nobody", *PEOPLE})
READ = frozenset(PEOPLE)
CURATE = frozenset({"curator", "operator", "superuser"})
OPERATE = frozenset({"operator", "superuser"})
SUPER = frozenset({"superuser"})
NONE: frozenset[str] = frozenset()

MACHINE_WRITTEN = {"changelist": READ, "change": READ, "history": READ, "add": NONE, "delete": NONE}
PAIRS = {**MACHINE_WRITTEN, "simple_history": READ, "import": CURATE}
PERSONAL = {"changelist": SUPER, "change": SUPER, "history": SUPER, "add": SUPER, "delete": SUPER}
LOGS = {**PERSONAL, "add": NONE}
PAGES_OF_MODELS = {
    "memory_conversation": {**MACHINE_WRITTEN, "delete": SUPER},
    "memory_message": MACHINE_WRITTEN,
    "memory_sftpair": {**PAIRS, "add": CURATE},
    "memory_preferencepair": PAIRS,
    "memory_replayentry": {**MACHINE_WRITTEN, "delete": SUPER},
    "memory_bulkdecision": MACHINE_WRITTEN,
    "memory_importbatch": MACHINE_WRITTEN,
    "memory_pairembedding": MACHINE_WRITTEN,
    "training_trainingrun": MACHINE_WRITTEN,
    "training_pairuse": MACHINE_WRITTEN,
    "maintenance_maintenancerun": MACHINE_WRITTEN,
    "maintenance_rowchange": MACHINE_WRITTEN,
    "maintenance_proposal": MACHINE_WRITTEN,
    "maintenance_clustering": MACHINE_WRITTEN,
    "maintenance_archivefile": MACHINE_WRITTEN,
    "constance_config": {"changelist": READ, "add": READ, "change": READ, "history": READ},
    "auth_user": PERSONAL,
    "auth_group": PERSONAL,
    "axes_accessattempt": LOGS,
    "axes_accessfailurelog": LOGS,
    "axes_accesslog": LOGS,
}
PAGES = {
    **{f"admin:{model}_{page}": who for model, pages in PAGES_OF_MODELS.items() for page, who in pages.items()},
    "admin:index": READ,
    "admin:app_list": READ,
    "admin:login": EVERYBODY,
    "admin:password_change": READ,
    "admin:password_change_done": READ,
    "admin:autocomplete": READ,
    "admin:jsi18n": READ,
    "admin:search": READ,
    "admin:auth_user_password_change": SUPER,
    "desk:review": READ,
    "desk:review_pair": READ,
    "desk:similar": READ,
    "desk:jobs": READ,
    "desk:job": READ,
    "desk:job-progress": READ,
    "desk:start-extraction": OPERATE,
    "desk:plan-training": OPERATE,
    "desk:start-night": OPERATE,
}
# Addresses that take a POST alone: who may send one.
POSTS = {
    **{
        f"admin:memory_{model}_{page}": who
        for model in ("sftpair", "preferencepair")
        for page, who in {
            "bulk": CURATE,
            "save_filter": READ,
            "delete_filter": READ,
            "export": READ,
            "process_import": CURATE,
        }.items()
    },
    "admin:memory_bulk_continue": CURATE,
    "admin:memory_bulk_undo": CURATE,
    "desk:decide": CURATE,
    "desk:undo": CURATE,
    "desk:unskip": CURATE,
    "desk:job-cancel": OPERATE,
    "desk:start-training": OPERATE,
    "desk:resume-training": OPERATE,
    "desk:resume-config": OPERATE,
}
# No row has a page outside the admin, so that it leads nowhere.
NOWHERE = "admin:view_on_site"
# Ends the session that asks; Django answers strangers itself.
LOGOUT = "admin:logout"
# The actions of the lists, beyond deleting, and who is offered them.
ACTIONS = {
    "memory.sftpair": {"approve", "reject", "reopen", "reemit", "unarchive"},
    "memory.preferencepair": {"approve", "reject", "reopen", "reemit", "unarchive"},
    "maintenance.proposal": {"accept", "dismiss"},
}
ACTIONS_ON_LOGINS = {"axes.accessattempt": {"cleanup_expired_attempts"}}
# Tables in which a person's own work shows.
OWN = {"memory.savedfilter", "admin.logentry"}
CURATED = {
    *OWN,
    *("memory.sftpair", "memory.historicalsftpair", "memory.preferencepair", "memory.historicalpreferencepair"),
    *("memory.pairembedding", "memory.conversation", "memory.replayentry", "maintenance.proposal"),
    *("memory.bulkdecision", "memory.bulkchange"),
}
WRITTEN_BY = {"nobody": set[str](), "viewer": OWN, "curator": CURATED}


@pytest.fixture
def stocked() -> None:
    stock()
    set_up_roles()


def person(role: str) -> User:
    if role == "superuser":
        return User.objects.create_superuser("superuser")
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def client_of(role: str) -> Client:
    client = Client(raise_request_exception=False)
    if role != "nobody":
        client.force_login(person(role))
    return client


def tables() -> dict[str, str]:
    """Return a checksum of every table but those in which Django keeps sessions and notes models on first sight."""
    return {
        model._meta.label_lower: hashlib.sha256(
            repr(list(model._base_manager.order_by("pk").values_list())).encode()
        ).hexdigest()
        for model in apps.get_models(include_auto_created=True)
        if model not in {Session, ContentType} and not model._meta.proxy and model._meta.managed
    }


def changed(before: dict[str, str]) -> set[str]:
    after = tables()
    return {name for name in before if before[name] != after[name]}


def outcome(status: int, location: str) -> str:
    """Return what came of a request, in words."""
    if status == 302 and location.startswith(reverse("admin:login")):
        return "login"
    return {403: "forbidden", 405: "post alone"}.get(status, "opened" if status < 400 else f"status {status}")


def expected(name: str, role: str) -> str:
    if name == NOWHERE and role != "nobody":
        return "status 404"
    if name in POSTS and role != "nobody":
        return "post alone"
    if name in PAGES and role in PAGES[name]:
        return "opened"
    return "login" if role == "nobody" else "forbidden"


def test_the_table_names_every_address_of_the_site(stocked: None) -> None:
    assert {address.name for address in all_addresses()} == {*PAGES, *POSTS, NOWHERE, LOGOUT}


@pytest.mark.parametrize("role", ["nobody", *PEOPLE])
def test_each_role_opens_what_the_table_says_and_reading_changes_no_row(role: str, stocked: None) -> None:
    client = client_of(role)
    addresses = [each for each in all_addresses() if each.name != LOGOUT]
    before = tables()
    got = {}
    for address in addresses:
        response = client.get(address.path, address.query)
        got[address.name] = outcome(response.status_code, response.headers.get("Location", ""))
    assert got == {address.name: expected(address.name, role) for address in addresses}
    assert changed(before) == set()


@pytest.mark.parametrize("role", WRITTEN_BY)
def test_whatever_is_posted_where_only_what_the_role_may_write_changes(role: str, stocked: None) -> None:
    client = client_of(role)
    addresses = all_addresses()
    before = tables()
    keys = [1, *SftPair.objects.values_list("pk", flat=True)]
    data = {"_selected_action": keys, "post": "yes", "confirm": "yes", "reason": "because", "decision": "reject"}
    # Whole, so that no form of a pair is refused for what it lacks.
    prompt = '[{"role": "user", "content": "Who barks?"}]'
    pair = {"instruction": "Who barks?", "response": "Nobody.", "context": "[]", "prompt": prompt, "chosen": "Nobody."}
    pair |= {"rejected": "Somebody.", "confidence": "1", "reward_intensity": "1", "sampling_weight": "1"}
    intruder = {"is_superuser": "on", "username": "intruder", "name": "intruders", "password1": "x", "password2": "x"}
    for address in addresses:
        if address.name in {"admin:login", LOGOUT}:
            continue
        is_list = address.name.endswith("_changelist")
        for action in ["reemit", "accept", "delete_selected"] if is_list else ["approve"]:
            client.post(address.path, {**data, **pair, **intruder, "action": action, "review_status": "approved"})
    assert changed(before) - WRITTEN_BY[role] == set()


@pytest.mark.parametrize("role", ["nobody", *PEOPLE])
def test_an_address_that_takes_posts_alone_refuses_who_may_not(role: str, stocked: None) -> None:
    client = client_of(role)
    addresses = {address.name: address for address in all_addresses() if address.name in POSTS}
    refused = [name for name in addresses if role not in POSTS[name]]
    got = {}
    for name in refused:
        response = client.post(addresses[name].path)
        got[name] = outcome(response.status_code, response.headers.get("Location", ""))
    assert got == dict.fromkeys(refused, "login" if role == "nobody" else "forbidden")


@pytest.mark.parametrize("role", PEOPLE)
def test_the_lists_offer_actions_to_those_who_may_take_them(role: str, stocked: None) -> None:
    request = RequestFactory().get("/")
    request.user = person(role)
    offered = {
        model._meta.label_lower: set(desk.get_actions(request)) - {"delete_selected"}
        for model, desk in admin.site._registry.items()
        if desk.has_view_permission(request)
    }
    expected = {**(ACTIONS if role in CURATE else {}), **(ACTIONS_ON_LOGINS if role in SUPER else {})}
    assert {label: names for label, names in offered.items() if names} == expected


def test_a_person_without_a_role_gets_into_no_page(stocked: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("guest", is_staff=True))
    for name in ("memory_sftpair", "training_trainingrun", "maintenance_maintenancerun", "constance_config"):
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403


def test_each_role_may_what_the_one_before_it_may_and_more() -> None:
    assert ROLES["viewer"] < ROLES["curator"] < ROLES["operator"]
    set_up_roles()
    held = [Group.objects.get(name=name).permissions.count() for name in ROLES]
    assert held == sorted(set(held))


def test_no_role_touches_people_logins_or_deletes_anything() -> None:
    set_up_roles()
    given = Permission.objects.filter(group__name__in=ROLES)
    assert set(given.values_list("content_type__app_label", flat=True)) == set(READ_APPS)
    deleting = given.filter(codename__startswith="delete_")
    assert not deleting.exists()


def test_the_command_makes_the_groups_and_says_so_once() -> None:
    first, second = run_command(), run_command()
    assert [line.split(":")[0] for line in first.splitlines()] == list(ROLES)
    assert first.count(", new") == 3
    assert second.count(", as before") == 3
    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)


def test_the_command_sets_a_group_back_and_keeps_its_people() -> None:
    run_command()
    group = Group.objects.get(name="viewer")
    user = person("viewer")
    group.permissions.add(Permission.objects.get(codename="delete_user"))
    group.permissions.remove(Permission.objects.get(codename="view_sftpair"))
    report = json.loads(run_command("--json"))
    assert report["roles"][0] == {
        "role": "viewer",
        "created": False,
        "permissions": group.permissions.count(),
        "added": ["memory.view_sftpair"],
        "removed": ["auth.delete_user"],
    }
    assert User.objects.get(pk=user.pk).get_group_permissions() == {
        f"{app}.{name}" for app, name in group.permissions.values_list("content_type__app_label", "codename")
    }
    assert "auth.delete_user" not in User.objects.get(pk=user.pk).get_group_permissions()


def test_a_database_without_the_permissions_is_refused_in_one_line() -> None:
    Permission.objects.filter(codename="change_sftpair").delete()
    with pytest.raises(CommandError) as refused:
        run_command()
    assert str(refused.value) == (
        "got no permission memory.change_sftpair in the database; run `manage.py migrate` first"
    )
    assert not Group.objects.exists()


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("setup_roles", *arguments, stdout=out)
    return out.getvalue().strip()
