"""Who is connected: python-socketio's manager, without the rooms that it makes for each client.

The library's keeps two maps with two dicts each for a client, and goes through all rooms there are when one leaves.
"""

from typing import Any

from socketio import AsyncManager

from web.realtime.socket import Socket


class Manager(AsyncManager):
    """The clients of the one namespace, by id."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, Socket] = {}
        #: Those who aren't let in yet.
        self.waiting: dict[str, Socket] = {}

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """The id of a client that wants to be let in; None for one that is, or is gone."""
        end = self.server.eio.sockets.get(eio_sid)
        if end is None or end.client is not None:
            return None
        client = end.client = Socket(end, self.server.eio.generate_id())
        self.waiting[client.id] = client
        return client.id

    async def connect(self, sid: str, namespace: str) -> None:
        """It is let in."""
        self.clients[sid] = self.waiting.pop(sid)

    async def disconnect(self, sid: str, namespace: str, **_: Any) -> None:
        """It is gone, or was never let in."""
        client = self.clients.pop(sid, None) or self.waiting.pop(sid, None)
        if client is not None:
            client.forget()

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether it is let in."""
        return sid in self.clients
