"""One request on its way through an operation: who asks, what for, and what the command will be called."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from aiohttp import web

from web.commands import Common, Order
from web.gateway import Gateway
from web.ids import is_id
from web.problems import ProblemError, not_logged_in, user_unknown
from web.who import Caller

B = TypeVar("B")
Q = TypeVar("Q")

#: The place of a message is exact in every JSON reader.
SEQ_MAX = 2**53 - 1


class Call(Generic[B, Q]):
    """One request: `body` and `query` are values of the operation's types."""

    __slots__ = ("_caller", "_request", "body", "charge", "gateway", "order", "params", "query")

    def __init__(
        self, gateway: Gateway, request: web.Request | None, caller: Caller | None, params: Mapping[str, str]
    ) -> None:
        """`params` are what the path has in the place of names. An event of a socket has no request."""
        self.gateway = gateway
        self._request = request
        self._caller = caller
        self.params = params
        self.body: B
        self.query: Q
        self.order: Order
        #: Counts the request against its quota; gives the headers that say so.
        self.charge: Callable[[], Awaitable[Mapping[str, str]]]

    @property
    def request(self) -> web.Request:
        """The request; TypeError where there is none."""
        if self._request is None:
            raise TypeError("an event of a socket has no request")
        return self._request

    @property
    def me(self) -> Caller:
        """Who asks; ProblemError(not_logged_in) where nobody is logged in."""
        if self._caller is None:
            raise not_logged_in()
        return self._caller

    def admit(self, caller: Caller) -> None:
        """This is who asks."""
        self._caller = caller

    @property
    def caller(self) -> Caller | None:
        """Who asks, if they are logged in."""
        return self._caller

    def common(self) -> Common:
        """The fields of a command that whoever asks gives."""
        return self.order.common(self.me.user.id)

    def user(self, name: str = "user") -> str:
        """The user id in the path; ProblemError(user_unknown) when it is none of ours, and so nobody's."""
        return known_user(self.params[name])

    def ident(self, name: str, code: str) -> str:
        """Another id in the path; ProblemError(`code`) when it is none that we gave."""
        found = self.params[name]
        if not is_id(found):
            raise ProblemError(code, "There is no such thing of yours.")
        return found

    def seq(self, name: str = "message") -> int:
        """The place of a message in the path."""
        found = self.params[name]
        if not (found.isascii() and found.isdecimal() and len(found) <= 16 and 1 <= int(found) <= SEQ_MAX):
            raise ProblemError("message_unknown", "A message is named by its `seq`.")
        return int(found)


def known_user(user: str) -> str:
    """A user id as given; ProblemError(user_unknown) when it is no id of ours, and so nobody's."""
    if not is_id(user):
        raise user_unknown()
    return user


AnyCall = Call[Any, Any]
