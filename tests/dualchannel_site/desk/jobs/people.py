"""People at the desk, by what each may do with jobs."""

from django.contrib.auth.models import Permission, User

VIEWER = ("view_job", "view_sftpair", "view_preferencepair", "view_trainingrun", "view_maintenancerun")
CURATOR = (*VIEWER, "add_sftpair", "change_sftpair", "add_preferencepair", "change_preferencepair")
OPERATOR = (*CURATOR, "add_job", "change_job")


def person(name: str, *codenames: str) -> User:
    """Store somebody who may enter the admin, and does what the `codenames` allow."""
    found = User.objects.create(username=name, is_staff=True)
    permissions = Permission.objects.filter(codename__in=codenames)
    assert permissions.count() == len(codenames)
    found.user_permissions.set(permissions)
    return found


def operator(name: str = "olga") -> User:
    return person(name, *OPERATOR)
