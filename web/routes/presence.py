"""Who is here."""

from functools import lru_cache

from web.answers import PresenceList
from web.calls import Call
from web.operations import Operation, Reply, read
from web.queries import PresenceQuery
from web.requests import UNDERSTOOD


async def read_presence(call: Call[None, PresenceQuery]) -> Reply:
    """Whether these people are here, in the order asked for, each once: whoever doesn't show it isn't."""
    gateway = call.gateway
    users = _each_once(call.query.users)
    reading = gateway.reads.reading()
    found = await reading.presence(users, gateway.parts.clock.now_ms(), call.me.user.id)
    return Reply(data={"items": found}, source=reading.source)


@lru_cache(UNDERSTOOD)
def _each_once(users: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(users.split(",")))


OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/presence",
        read_presence,
        "Who is here",
        query=PresenceQuery,
        answer=PresenceList,
        tag="presence",
    ),
)
