"""Live switches: settings that a person changes while the system runs."""

from constance import config
from constance.codecs import loads
from constance.models import Constance
from constance.settings import DATABASE_PREFIX
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS


def is_on(name: str, *, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Return the state of the switch `name` of `CONSTANCE_CONFIG`, as kept in the database `using`."""
    # constance itself reads the default database only, and writes a row there when a switch is first looked at.
    stored = Constance.objects.using(using).filter(key=f"{DATABASE_PREFIX}{name}").values_list("value", flat=True)
    value = stored.first()
    return bool(settings.CONSTANCE_CONFIG[name][0] if value is None else loads(value))


def turn(name: str, *, on: bool) -> None:
    """Put the switch `name` of `CONSTANCE_CONFIG` on or off."""
    setattr(config, name, on)
