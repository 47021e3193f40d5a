"""People for tests of the admin, each with the permissions that a test is about."""

from django.contrib.auth.models import Permission, User
from django.test import Client


def person(name: str, *codenames: str) -> User:
    """Store somebody who may enter the admin, and does what the `codenames` allow."""
    found = User.objects.create(username=name, is_staff=True)
    permissions = Permission.objects.filter(codename__in=codenames)
    assert permissions.count() == len(codenames)
    found.user_permissions.set(permissions)
    return found


def client_of(user: User) -> Client:
    """Return a browser in which that person has logged in."""
    client = Client()
    client.force_login(user)
    return client
