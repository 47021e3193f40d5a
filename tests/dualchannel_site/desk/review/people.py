"""People at the desk, each with the permissions that a test is about."""

from django.contrib.auth.models import User

from tests.people import person

__all__ = ["curator", "person", "viewer"]

VIEW = ("view_sftpair", "view_preferencepair")
CHANGE = ("change_sftpair", "change_preferencepair")


def viewer(name: str = "viewer") -> User:
    return person(name, *VIEW)


def curator(name: str = "curator") -> User:
    return person(name, *VIEW, *CHANGE, "change_proposal")
