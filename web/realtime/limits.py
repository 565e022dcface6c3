"""What a socket may cost."""

from typing import NamedTuple

from devconnect.settings import Settings

#: Seconds from the upgrade until a client must be let in: it has to say who it is, and that is to be looked up.
HANDSHAKE_SECONDS = 10.0
#: Events of one socket that are waiting or under way; with so many it isn't read any more until one is done.
UNDER_WAY = 32


class SocketLimits(NamedTuple):
    """Seconds, bytes and numbers for each socket."""

    transports: tuple[str, ...] = ("websocket",)
    #: Seconds between two pings, and that a client has to answer one.
    ping: float = 25.0
    ping_timeout: float = 20.0
    #: Bytes that a message of a client has at most, and that may wait to be sent to it.
    message: int = 65_536
    buffer: int = 262_144
    handshake: float = HANDSHAKE_SECONDS
    under_way: int = UNDER_WAY
    #: Seconds for a look at every socket: how late it may be noticed that time is over.
    sweep: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> "SocketLimits":
        """As the settings have them."""
        return cls(
            transports=settings.socket_transports,
            ping=settings.socket_ping,
            ping_timeout=settings.socket_ping_timeout,
            message=settings.socket_message_bytes,
            buffer=settings.socket_buffer_bytes,
        )
