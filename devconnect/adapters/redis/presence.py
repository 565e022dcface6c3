"""Who is here, as far as they show it to whoever asks: many people in one round trip."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from typing import get_args

from redis.asyncio.cluster import RedisCluster

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.line import AnyCommand
from devconnect.adapters.redis.packing import packed
from devconnect.adapters.redis.wire import Wire
from devconnect.domain.model import RelationState
from devconnect.domain.presence import may_see
from devconnect.events.base import Audience
from devconnect.ports.reads import PresenceView

#: Presences that are remembered as they were understood: each is asked for again and again before it changes.
UNDERSTOOD = 20_000
#: Lists of people that are remembered as they are asked for: many look again and again for the same ones.
PACKED = 1_000
_AUDIENCES: dict[str, Audience] = {audience[0]: audience for audience in get_args(Audience)}
_STATES: dict[str, RelationState] = {state: state for state in get_args(RelationState)}
_BEFORE, _AFTER = keys.online("\0").split("\0")

#: What is kept of each, in the order asked for.
_Kept = Sequence[bytes | None]


async def read(client: Client, ids: Sequence[str], now: int, reader: str | None) -> list[PresenceView]:
    """The presence of these people, in the order asked for, as the reader may see it; without one all of it."""
    here, standing = await _ask(client, ids, reader)
    # Oneself one always sees.
    is_free: Iterable[bool] = [user == reader for user in ids] if reader in ids else repeat(reader is None)
    return [
        PresenceView(user=user, online=True, last_seen=now)
        if until > now
        # Times are of other clocks too: never ahead of this one.
        else PresenceView(user=user, online=False, last_seen=gone if gone < now else now)
        for user, (until, gone) in zip(ids, map(_times, here, standing, is_free), strict=True)
    ]


async def _ask(client: Client, ids: Sequence[str], reader: str | None) -> tuple[_Kept, _Kept]:
    """What is kept of each, and of what is between them and the reader.

    A reader whose connections aren't known (any more) is connected with nobody.
    """
    if isinstance(client, Wire):
        asked = _packed(tuple(ids), reader)
        here, *standing = await run(client, asked, raw=True)
    else:
        names = [keys.online(user) for user in ids]
        own: list[Command] = [] if reader is None else [("HMGET", keys.relations(reader), *ids)]
        if isinstance(client, RedisCluster):
            answers = await run(client, [*(("GET", name) for name in names), *own], raw=True)
            here, standing = answers[: len(names)], answers[len(names) :]
        else:
            here, *standing = await run(client, [("MGET", *names), *own], raw=True)
    return here, standing[0] if standing else [None] * len(ids)


@lru_cache(PACKED)
def _packed(ids: tuple[str, ...], reader: str | None) -> tuple[AnyCommand, ...]:
    here = packed(("MGET",), ids, _BEFORE, _AFTER)
    return (here,) if reader is None else (here, packed(("HMGET", keys.relations(reader)), ids))


@lru_cache(UNDERSTOOD)
def _times(online: bytes | None, standing: bytes | None, is_free: bool) -> tuple[int, int]:
    """Until when somebody is here, and when they were last seen once that is over; 0 where it isn't shown, or unknown.

    As domain.presence has it, of the device or gateway that is here for longest.
    """
    if online is None or not (is_free or _may_see(online, standing)):
        return 0, 0
    until, seen, _ = online.split(b":")
    return int(until), max(int(until), int(seen))


def _may_see(online: bytes, standing: bytes | None) -> bool:
    """domain.presence.may_see, of what is kept."""
    if online.endswith(b"e"):
        return standing is None or not (b"|barred|" in standing or b"|blocked|" in standing)
    return online.endswith(b"c") and standing is not None and b"|accepted|" in standing


def seen(user: str, reader: str, online: str | None, relation: str | None, now: int) -> PresenceView:
    """Somebody as the reader may see them, by what is kept of their presence, and of the reader in their relations."""
    if online is None:
        return PresenceView(user=user, online=False, last_seen=0)
    until, last, letter = online.split(":")
    # <seq>|<state>|…
    state: RelationState = _STATES[relation.split("|")[1]] if relation else "none"
    if user != reader and not may_see(_AUDIENCES[letter], state):
        return PresenceView(user=user, online=False, last_seen=0)
    if int(until) > now:
        return PresenceView(user=user, online=True, last_seen=now)
    return PresenceView(user=user, online=False, last_seen=min(now, max(int(until), int(last))))
