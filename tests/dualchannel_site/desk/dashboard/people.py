"""People for tests of the dashboard, logged in."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def person(client: Client, *permissions: str) -> User:
    """Log in somebody who has the permissions, named `app.codename`, and no others."""
    user = User.objects.create_user("maren", is_staff=True)
    for name in permissions:
        app, codename = name.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client.force_login(user)
    return user
