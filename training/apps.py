"""Application configuration."""

from django.apps import AppConfig


class TrainingConfig(AppConfig):
    """The training application."""

    name = "training"
