"""What every test process does once."""

import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what importing has made out of the garbage collections, of which every run of the trainer asks for one."""
    gc.collect()
    gc.freeze()
