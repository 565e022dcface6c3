"""Who takes part in `bench gateway`: how each is started, what it is asked, and what it must answer."""

import shlex
import sys
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bench.gateways import bare
from bench.gateways.asks import Answer, Ask, request
from bench.gateways.crowd import MESSAGES, TEXT, TIER, Crowd, Talk
from bench.rig import python
from devconnect.events.topics import MESSAGE_COMMANDS
from devconnect.replay.account import Account
from devconnect.runner.plan import GATEWAY, ROOT, read_procfile

#: Limits that count every request, and refuse none. A second long: leases are asked for all the time.
LIMITS = "requests=10000/sec messages=10000/sec writes=10000/sec reads=1000000/sec feed=200"
STRANGERS = "1000000/sec"
#: What our gateways are told beside where their parts are. Passwords are no part of a load, only of its preparation.
OURS = {
    "LIMITS_FREE": LIMITS,
    "LIMITS_SILVER": LIMITS,
    "LIMITS_GOLD": LIMITS,
    "LIMITS_STRANGERS": STRANGERS,
    "ARGON2_MEMORY_KIB": "1024",
}

BARE = ("hello", "redis_get", "produce")
NAMES = ("hello", "redis_get", "ours_me", "ours_presence", "ours_history", "produce", "ours_command")


class Entrant(NamedTuple):
    """One of them: a process of its own. `topic`: where every request that it accepts is a record."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    topic: str | None = None

    @property
    def ours(self) -> bool:
        """Whether it is the gateway itself."""
        return self.name not in BARE


def gateway(name: str, topic: str | None = None) -> Entrant:
    """The gateway as it is, under this name."""
    command = shlex.split(read_procfile(ROOT / "Procfile")[GATEWAY])
    return Entrant(name, (sys.executable, *command[1:]), OURS, topic)


def entrants(only: tuple[str, ...] = ()) -> list[Entrant]:
    """Those that were asked for, or all, in their turn."""
    topics = {"produce": bare.TOPIC, "ours_command": MESSAGE_COMMANDS.name}
    return [
        Entrant(name, (*python("bench.gateways.bare"), name), {}, topics.get(name))
        if name in BARE
        else gateway(name, topics.get(name))
        for name in NAMES
        if not only or name in only
    ]


def asks(name: str, crowd: Crowd) -> tuple[Ask, ...]:
    """What the contender of this name is asked, in turn."""
    match name:
        case "hello":
            return (_constant(bare.HELLO),)
        case "redis_get":
            return (_constant(bare.VALUE),)
        case "produce":
            return tuple(
                Ask(_said(one, peer, f"/{one.user}.{peer.user}"), 202, _nothing) for one, peer in _pairs(crowd)
            )
        case "ours_me":
            return tuple(_me(person) for person in crowd.everybody)
        case "ours_presence":
            return tuple(_presence(reader, crowd.peers) for reader in crowd.readers)
        case "ours_history":
            return tuple(_history(talk) for talk in crowd.talks)
        case _:
            return tuple(_command(one, peer) for one, peer in _pairs(crowd))


def _constant(body: bytes) -> Ask:
    wanted = msgspec.json.decode(body)
    return Ask(request("GET", "/", {}), 200, lambda answer: "" if answer.body == wanted else f"this is {answer.body}")


def _pairs(crowd: Crowd) -> list[Talk]:
    """Everybody who may write, with whom they write to."""
    pairs = [Talk(one, peer) for peer in crowd.peers for one in crowd.readers]
    return [each for one, peer in pairs for each in (Talk(one, peer), Talk(peer, one))]


def _bearer(person: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


def _said(one: Account, peer: Account, path: str) -> bytes:
    """The same request to both that produce."""
    return request("POST", path, {**_bearer(one), "Prefer": "respond-async"}, {"text": TEXT})


def _me(person: Account) -> Ask:
    def fault(answer: Answer) -> str:
        account = (answer.body or {}).get("id"), (answer.body or {}).get("tier")
        return _cached(answer) or ("" if account == (person.user, TIER) else f"this is {account}, not {person.user}")

    return Ask(request("GET", "/v1/me", _bearer(person)), 200, fault)


def _presence(reader: Account, peers: tuple[Account, ...]) -> Ask:
    wanted = [peer.user for peer in peers]

    def fault(answer: Answer) -> str:
        items = (answer.body or {}).get("items", [])
        if [item.get("user") for item in items] != wanted:
            return f"these {len(items)} aren't the people that were asked for"
        # Their leases may be over by now; that they were here isn't.
        return _cached(answer) or ("" if all(item.get("last_seen") for item in items) else "somebody was never seen")

    path = f"/v1/presence?users={','.join(wanted)}"
    return Ask(request("GET", path, _bearer(reader)), 200, fault)


def _history(talk: Talk) -> Ask:
    two = {talk.reader.user, talk.peer.user}

    def fault(answer: Answer) -> str:
        items = (answer.body or {}).get("items", [])
        if len(items) != MESSAGES or any({item["sender"], item["recipient"]} != two for item in items):
            return f"these {len(items)} messages aren't the {MESSAGES} of the two"
        return _cached(answer) or ("" if items[0]["text"] == TEXT else "this was never said")

    path = f"/v1/conversations/{talk.peer.user}/messages?limit={MESSAGES}"
    return Ask(request("GET", path, _bearer(talk.reader)), 200, fault)


def _command(one: Account, peer: Account) -> Ask:
    def fault(answer: Answer) -> str:
        return "" if answer.headers.get("location") else "a 202 must say where to ask for the command"

    return Ask(_said(one, peer, f"/v1/conversations/{peer.user}/messages"), 202, fault)


def _cached(answer: Answer) -> str:
    source = answer.headers.get("x-source")
    return "" if source == "cache" else f"it came from {source}, not from the cache"


def _nothing(_: Answer) -> str:
    return ""
