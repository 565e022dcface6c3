"""Where a request comes from: the client's address as far as it can be believed, and the network it is counted by."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from aiohttp import web

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The address of who has none that can be read: a Unix socket's, say.
UNKNOWN = "unknown"

_PORT = re.compile(r"^(?:\[(?P<six>[^\]]*)\](?::\d{1,5})?|(?P<four>\d+\.\d+\.\d+\.\d+):\d{1,5})$", re.A)
# A hop of Forwarded by RFC 7239's grammar and no other: half a quoted text isn't guessed at, since a client may open
# one that the proxy's own words then close.
_PAIR = re.compile(r"""([\w-]+)=("(?:[^"\\]|\\.)*"|[^\s",;=]+)""", re.S | re.A)
_HOP = re.compile(rf"{_PAIR.pattern}(?:\s*;\s*{_PAIR.pattern})*", re.S | re.A)


def client_address(request: web.Request, trusted: Sequence[Network] = ()) -> str:
    """The address of the nearest who isn't a trusted proxy, as text in its one spelling; UNKNOWN when there is none.

    A proxy's word is read from the right, each hop being believed as long as the one after it is trusted. A hop that
    can't be read ends that: the proxy that told of it counts as the client. So it does where X-Forwarded-For and
    Forwarded are both there and differ: a proxy writes one of them, and lets the other through as the client sent it.
    """
    peer = _parsed(request.remote or "")
    if peer is None:
        return UNKNOWN
    if not trusted or not _among(peer, trusted):
        return str(peer)
    old, new = request.headers.getall("X-Forwarded-For", ()), request.headers.getall("Forwarded", ())
    said = [_walk(peer, hops, trusted) for hops, there in ((_plain(old), old), (_forwarded(new), new)) if there]
    return str(said[0] if len(set(said)) == 1 else peer)


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """What an address is counted by: itself in IPv4, its /64 in IPv6, where everybody has so many."""
    found = _parsed(address)
    if found is None:
        return UNKNOWN
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def _walk(peer: Address, hops: Iterator[str], trusted: Sequence[Network]) -> Address:
    """From the peer on, hop by hop away from us, to the first that isn't trusted or the last that can be read."""
    nearest = peer
    for hop in hops:
        found = _parsed(hop)
        if found is None:
            break
        nearest = found
        if not _among(found, trusted):
            break
    return nearest


def _plain(values: Sequence[str]) -> Iterator[str]:
    return (hop for value in reversed(values) for hop in reversed(value.split(",")))


def _forwarded(values: Sequence[str]) -> Iterator[str]:
    for hop in _plain(values):
        text = hop.strip()
        pairs = _PAIR.findall(text) if _HOP.fullmatch(text) else []
        found = [value for name, value in pairs if name.lower() == "for"]
        yield found[0].strip('"') if len(found) == 1 else ""


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Address | None:
    """An address, perhaps with a port, without a zone; IPv4 in IPv6 is IPv4."""
    text = text.strip()
    match = _PORT.match(text)
    if match:
        text = match["six"] if match["six"] is not None else match["four"]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if found.version == 6 else found


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
