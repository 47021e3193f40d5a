"""A language model and a database server for nights in processes of their own."""

from collections.abc import Iterator

import pytest

from tests.missing import skip_without
from tests.postgres import ServerMissingError, running_server
from tests.training.conftest import tiny_model_path

__all__ = ["server", "tiny_model_path"]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Yield the address of a PostgreSQL server that no other test uses."""
    try:
        with running_server() as url:
            yield url
    except ServerMissingError as missing:
        skip_without(missing)
