"""Application configuration."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """The memory application."""

    name = "memory"
