"""The person who looks around in the demo."""

from __future__ import annotations

import secrets

from axes.utils import reset
from django.contrib.auth.models import User
from django.db import transaction

USERNAME = "demo"
# 16 bytes: nobody guesses it while the page is open.
PASSWORD_BYTES = 16


@transaction.atomic
def reset_demo_superuser() -> str:
    """Create the superuser `demo`, or give it a new password; return the password, which is stored nowhere.

    Earlier sessions of that user end, failed logins are forgotten.
    """
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user, _ = User.objects.get_or_create(username=USERNAME)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    reset(username=USERNAME)
    return password
