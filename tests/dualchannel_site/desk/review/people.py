"""People at the desk, each with the permissions that a test is about."""

from django.contrib.auth.models import Permission, User

VIEW = ("view_sftpair", "view_preferencepair")
CHANGE = ("change_sftpair", "change_preferencepair")


def person(name: str, *codenames: str) -> User:
    """Store somebody who may enter the admin, and does what the `codenames` allow."""
    found = User.objects.create(username=name, is_staff=True)
    found.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return found


def viewer(name: str = "viewer") -> User:
    return person(name, *VIEW)


def curator(name: str = "curator") -> User:
    return person(name, *VIEW, *CHANGE, "change_proposal")
