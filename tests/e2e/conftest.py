"""The system that the end-to-end tests share: one start for all of them."""

from collections.abc import Iterator

import pytest

from tests.e2e.people import Person, join
from tests.e2e.system import System

#: What takes longest, the longest first.
LONG = (
    "test_openapi.py",
    "test_windows.py",
    "test_run.py",
    "test_realtime_crashes.py",
    "test_realtime_fleet.py",
    "test_gateway_outages.py",
    "test_gateway_revocation.py",
    "test_liveness.py",
    "test_outages.py",
    "test_dlq.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a run with `-n` no process is alone at the end with a module that takes long: those are begun first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Stack, workers and gateway, ready. Tests that break it for good start one of their own."""
    with System(tmp_path_factory.mktemp("system")).running() as found:
        yield found


@pytest.fixture
def pair(system: System) -> tuple[Person, Person]:
    """Two who are connected."""
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    return ada, bob
