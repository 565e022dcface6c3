"""Mail where there is no server: each a file, to be opened with any mail program."""

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path

from devconnect.adapters.smtp.mime import message, recipient, stem
from devconnect.mail.server import Sender
from devconnect.ports.mail import Mail
from devconnect.ports.truth import UnavailableError
from devconnect.settings import write_private


class FileMailer:
    """Writes each mail into a folder, for its owner alone: it holds a link."""

    def __init__(self, folder: Path, sender: Sender) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Write the mail under its id, over what is there."""
        to = recipient(mail.to)
        text = message(mail, self._sender, to).decode("utf-8", "surrogateescape")
        try:
            await asyncio.to_thread(self._write, f"{stem(mail)}.eml", text)
        except OSError as error:
            raise UnavailableError(f"mail can't be written to {self._folder}: {error}") from error

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        own = self._folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            write_private(own, text)
            own.replace(self._folder / name)
        finally:
            with suppress(FileNotFoundError):
                own.unlink()
