"""People at the desk, by what each may do with jobs."""

from django.contrib.auth.models import User

from tests.people import person

__all__ = ["CURATOR", "OPERATOR", "VIEWER", "operator", "person"]

VIEWER = ("view_job", "view_sftpair", "view_preferencepair", "view_trainingrun", "view_maintenancerun")
CURATOR = (*VIEWER, "add_sftpair", "change_sftpair", "add_preferencepair", "change_preferencepair")
OPERATOR = (*CURATOR, "add_job", "change_job")


def operator(name: str = "olga") -> User:
    return person(name, *OPERATOR)
