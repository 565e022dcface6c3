"""Who is here."""

from web.answers import PresenceList
from web.calls import Call
from web.operations import Operation, Reply, read
from web.queries import PresenceQuery


async def read_presence(call: Call[None, PresenceQuery]) -> Reply:
    """Whether these people are here, in the order asked for, each once: whoever doesn't show it isn't."""
    gateway = call.gateway
    users = call.query.users.split(",")
    if len(set(users)) < len(users):
        users = list(dict.fromkeys(users))
    reading = gateway.reads.reading()
    found = await reading.presence(users, gateway.parts.clock.now_ms(), call.me.user.id)
    return Reply(data={"items": found}, source=reading.source)


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
