"""The desk as an app of the site."""

from django.apps import AppConfig


class DeskConfig(AppConfig):
    """Review, dashboard and jobs: what needs more than one room of the house."""

    name = "dualchannel_site.desk"
    label = "desk"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"
