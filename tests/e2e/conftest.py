"""The system that the end-to-end tests share: one start for all of them."""

from collections.abc import Iterator

import pytest

from tests.e2e.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Stack, workers and gateway, ready. Tests that break it for good start one of their own."""
    found = System(tmp_path_factory.mktemp("system"))
    try:
        found.start()
        yield found
    finally:
        found.stop()
