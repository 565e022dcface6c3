"""Sockets: Socket.IO for any number of clients, at a price that is known (docs/adr/0021-sockets.md)."""
