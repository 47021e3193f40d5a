"""`demo_superuser` lets somebody look around, and nobody else in."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db


def printed_password() -> str:
    out = StringIO()
    call_command("demo_superuser", stdout=out)
    words, _, password = out.getvalue().rpartition(" ")
    assert words == "user demo, password"
    return password.strip()


def login_status(password: str) -> int:
    return Client().post(reverse("admin:login"), {"username": "demo", "password": password}).status_code


def test_the_printed_password_opens_the_desk(settings: Any) -> None:
    settings.DEBUG = True
    assert login_status(printed_password()) == 302
    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_superuser) == ("demo", True, True)


def test_each_call_prints_another_password_and_the_one_before_is_void(settings: Any) -> None:
    settings.DEBUG = True
    first, second = printed_password(), printed_password()
    assert first != second
    assert len(second) >= 20
    assert login_status(first) == 200
    assert login_status(second) == 302
    assert User.objects.count() == 1


def test_a_demo_user_who_was_switched_off_or_locked_out_comes_in_again(settings: Any) -> None:
    settings.DEBUG = True
    password = printed_password()
    for _ in range(settings.AXES_FAILURE_LIMIT):
        login_status("wrong")
    assert login_status(password) == 429
    User.objects.update(is_active=False, is_staff=False)
    assert login_status(printed_password()) == 302


def test_without_debug_it_is_refused_in_one_line_and_nobody_is_created(settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError) as refused:
        call_command("demo_superuser")
    assert str(refused.value) == "DEBUG is off, and the demo superuser is for DEBUG alone: use createsuperuser."
    assert not User.objects.exists()
