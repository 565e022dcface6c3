"""Answers that are the same until something changes, kept as they are sent."""

from devconnect.ports.reads import UserView
from web.answers import account, encode
from web.who import Caller

#: Accounts that are kept.
ROOM = 20_000


class Shown:
    """Accounts as JSON. One is found again only for the very reading that it was made of."""

    def __init__(self) -> None:
        self._accounts: dict[str, tuple[UserView, str, bytes]] = {}

    def account(self, caller: Caller) -> bytes:
        """The account of who asks."""
        user, role = caller.user, caller.role
        found = self._accounts.get(user.id)
        if found is not None and found[0] is user and found[1] == role:
            return found[2]
        body = encode(account(user, role))
        if len(self._accounts) >= ROOM:
            del self._accounts[next(iter(self._accounts))]
        self._accounts[user.id] = (user, role, body)
        return body
