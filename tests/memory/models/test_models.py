"""What holds for every model of the project."""

from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import models

from memory.models import SftPair
from tests.memory import rows

OWN_MODELS = [
    model
    for app in ("memory", "training", "maintenance")
    for model in apps.get_app_config(app).get_models()
    if not model.__name__.startswith("Historical")
]


def test_there_are_models_to_look_at() -> None:
    assert SftPair in OWN_MODELS


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True)


@pytest.mark.parametrize("model", OWN_MODELS, ids=lambda model: model.__name__)
def test_every_model_has_an_order_and_a_name_of_its_own(model: type[models.Model]) -> None:
    assert model._meta.ordering
    assert model.__str__ is not models.Model.__str__


@pytest.mark.parametrize("model", OWN_MODELS, ids=lambda model: model.__name__)
def test_every_field_of_few_values_or_of_a_range_has_a_constraint(model: type[models.Model]) -> None:
    constrained = " ".join(str(constraint.deconstruct()) for constraint in model._meta.constraints)
    bounded = [
        field.name
        for field in model._meta.concrete_fields
        if field.choices or (isinstance(field, models.FloatField) and (field.help_text or "").startswith("0 to 1"))
    ]
    assert [name for name in bounded if f"'{name}" not in constrained] == []


@pytest.mark.django_db
def test_rows_are_called_by_what_a_person_knows_them_by() -> None:
    talk = rows.conversation("c1", title="")
    named: list[tuple[Any, str]] = [
        (talk, "native c1"),
        (rows.conversation("c2", title="The dog"), "The dog"),
        (rows.message(talk, content="x" * 99), f"assistant: {'x' * 60}"),
        (rows.sft_pair(instruction="y" * 99), "y" * 80),
        (rows.preference_pair(chosen="z" * 99), "z" * 80),
        (rows.replay_entry(response="Hello."), "experience: Hello."),
        (rows.import_batch(), "export.json (chatgpt)"),
    ]
    assert [str(row) for row, _ in named] == [name for _, name in named]
    pair = rows.sft_pair()
    assert str(rows.embedding(pair)) == f"tiny of {pair.pk}"
