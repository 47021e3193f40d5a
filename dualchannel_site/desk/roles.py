"""Who may do what at the desk: three groups with plain model permissions.

Pages ask for permissions, never for a group's name, so that a site may also make groups of its own. A superuser makes
the people and puts each into a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import transaction

# Apps whose rows every role may read. People, logins and sessions are not among them: those are for superusers.
READ_APPS = ("memory", "training", "maintenance", "desk", "constance")

CURATION = frozenset(
    {
        "memory.add_sftpair",
        "memory.change_sftpair",
        "memory.add_preferencepair",
        "memory.change_preferencepair",
        # Consent to training, and its withdrawal.
        "memory.change_conversation",
        "memory.change_replayentry",
        "maintenance.change_proposal",
    }
)
OPERATION = frozenset(
    {
        "desk.add_job",
        "desk.change_job",
        # The live switches.
        "constance.change_config",
    }
)
# What each role may do on top of reading.
ROLES: Mapping[str, frozenset[str]] = {
    "viewer": frozenset(),
    "curator": CURATION,
    "operator": CURATION | OPERATION,
}


@dataclass(frozen=True)
class RoleChange:
    """What setting up a role changed, permissions as `app.codename`."""

    role: str
    created: bool
    permissions: int
    added: list[str]
    removed: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def set_up_roles() -> list[RoleChange]:
    """Give each role's group exactly its permissions; return what changed, role by role.

    A group of that name that a person widened or narrowed is set back: another mixture belongs in another group.

    Raises:
        LookupError: the database has no such permission, because its migrations have not been run.

    """
    with transaction.atomic():
        stored = {f"{each.content_type.app_label}.{each.codename}": each for each in _permissions()}
        reading = {
            name for name in stored if name.split(".")[0] in READ_APPS and name.split(".")[1].startswith("view_")
        }
        return [_set_up(role, reading | more, stored) for role, more in ROLES.items()]


def _permissions() -> list[Permission]:
    return list(Permission.objects.filter(content_type__app_label__in=READ_APPS).select_related("content_type"))


def _set_up(role: str, wanted: set[str], stored: dict[str, Permission]) -> RoleChange:
    if missing := sorted(wanted - stored.keys()):
        raise LookupError(f"got no permission {', '.join(missing)} in the database; run `manage.py migrate` first")
    group, created = Group.objects.get_or_create(name=role)
    held = {
        f"{app}.{codename}" for app, codename in group.permissions.values_list("content_type__app_label", "codename")
    }
    if held != wanted:
        group.permissions.set([stored[name] for name in wanted])
    return RoleChange(role, created, len(wanted), sorted(wanted - held), sorted(held - wanted))
