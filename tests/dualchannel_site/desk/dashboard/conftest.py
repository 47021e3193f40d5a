"""What every test of the dashboard starts from."""

from collections.abc import Iterator

import pytest

from dualchannel_site.desk.dashboard.snapshot import forget_snapshot


@pytest.fixture(autouse=True)
def no_snapshot() -> Iterator[None]:
    """Have each test count its own rows, and leave none of its counts to the next."""
    forget_snapshot()
    yield
    forget_snapshot()
