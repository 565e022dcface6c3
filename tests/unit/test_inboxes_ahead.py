"""A cursor ahead of an inbox: of one that is just being filled again it is believed, of another one it isn't."""

import pytest

from devconnect.adapters import inboxes
from devconnect.adapters.inboxes import Inboxes
from devconnect.domain.inbox import Item


class Near:
    """What Redis holds: each answer once, the last one for ever."""

    def __init__(self, *heads: int | None) -> None:
        self._heads = list(heads)

    async def after(self, user: str, cursor: int) -> tuple[int, int, list[Item]] | None:
        head = self._heads.pop(0) if len(self._heads) > 1 else self._heads[0]
        return None if head is None else (1, head, [])


class Far:
    """A database that keeps nothing more than its head."""

    async def after(self, user: str, cursor: int, limit: int) -> tuple[int, int, list[Item]]:
        return 1, 5, []

    async def newest(self, user: str, epoch: int, limit: int) -> list[Item]:
        return []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "PAUSE", 0.001)


@pytest.mark.parametrize(
    ("heads", "complete"),
    [
        ((7,), True),
        # It isn't held: nobody knows better than the client.
        ((None,), True),
        # It is being put there again.
        ((5, 5, 6, 7), True),
        ((5, None), True),
        # It is the cursor of another inbox.
        ((5,), False),
    ],
)
async def test_a_cursor_that_is_ahead(heads: tuple[int | None, ...], complete: bool) -> None:
    found = await Inboxes(Near(*heads), Far()).after("bob", 7, 1)
    assert found.complete is complete
