"""What a part of the stack is: where it keeps things, how it is started, and how to ask if it is ready."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from devconnect.settings import Settings
from devconnect.stack.ports import LOOPBACK
from devconnect.stack.process import Record, read_record

#: Says something to whoever watches a start ("fetching …").
Say = Callable[[str], None]


class NotReadyError(Exception):
    """The part does not answer yet, or not as it should; the message says how."""


class Request(NamedTuple):
    """What a part is told when it is to start."""

    port: int
    #: The record of its last process, if any.
    last: Record | None
    say: Say


class Launch(NamedTuple):
    """How to start it: the command line, and the ports that it takes beside the one it was told."""

    command: list[str]
    extra_ports: Mapping[str, int] = {}


class Part(ABC):
    """One embedded server. Subclasses hold no state beyond the settings."""

    #: As shown and as used in file names.
    name: str
    #: The variables that replace it and that set its port.
    url_variable: str
    port_variable: str
    #: Put before "host:port" to make an address.
    scheme: str = ""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def url(self) -> str | None:
        """The URL that replaces this part, if any."""

    @property
    @abstractmethod
    def wanted_port(self) -> int:
        """The port that was asked for, 0 for any."""

    @abstractmethod
    def prepare(self, request: Request) -> Launch:
        """Makes files and downloads ready for a start; the part's folder is there already.

        Raises:
            StackError: something is missing; the message says what to do.
        """

    @abstractmethod
    def check(self, address: str, timeout: float) -> str:
        """Asks the server at an address to do real work; returns its version.

        Raises:
            NotReadyError: it doesn't answer, or says that it isn't ready.
        """

    def embedded_version(self) -> str | None:
        """The version of the embedded server, where it doesn't tell itself."""
        return None

    def address_at(self, port: int) -> str:
        return f"{self.scheme}{LOOPBACK}:{port}"

    @property
    def folder(self) -> Path:
        return self.settings.data_dir / self.name

    @property
    def log(self) -> Path:
        return self.settings.data_dir / "logs" / f"{self.name}.log"

    @property
    def record_path(self) -> Path:
        return self.settings.data_dir / "run" / f"{self.name}.json"

    def record(self) -> Record | None:
        return read_record(self.record_path)


def without_password(url: str) -> str:
    """A URL as it may be shown and logged."""
    return re.sub(r"//([^:@/]*):[^/]*@", r"//\1:***@", url)
