"""What the generator is told, and what it answers: a line of JSON each."""

from msgspec import Struct


class Open(Struct, frozen=True, kw_only=True, tag=True):
    """Open so many connections, to the ports in turn; answered when all can be used."""

    count: int
    ports: tuple[int, ...]
    dialect: str
    #: Whether to offer compression, as the official clients do.
    deflate: bool
    room: str = ""


class Steady(Struct, frozen=True, kw_only=True, tag=True):
    """So many messages a second, each from one connection to the next one."""

    rate: float
    seconds: float


class Fan(Struct, frozen=True, kw_only=True, tag=True):
    """Messages to the room that all are in, as fast as they are delivered, `window` of them under way."""

    seconds: float
    window: int


class Idle(Struct, frozen=True, kw_only=True, tag=True):
    """Only answer pings."""

    seconds: float


class Close(Struct, frozen=True, kw_only=True, tag=True):
    """Close every connection."""


Order = Open | Steady | Fan | Idle | Close


class Done(Struct, kw_only=True, tag=True):
    """An order was carried out. `seconds` and `processor` are the generator's, of the part that counts."""

    seconds: float
    processor: float
    #: Messages that a recipient got.
    deliveries: int = 0
    #: Pings of the protocol that were answered.
    pings: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class Failed(Struct, kw_only=True, tag=True):
    """It can't go on."""

    why: str


Answer = Done | Failed
