"""Application configuration."""

from django.apps import AppConfig


class MaintenanceConfig(AppConfig):
    """The maintenance application."""

    name = "maintenance"
