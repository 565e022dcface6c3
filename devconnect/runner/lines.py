"""What people see: every process's lines behind its name, one whole line at a time."""

import itertools
import sys
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import Any

from honcho.colour import get_colours
from honcho.printer import Message, Printer

#: The name in front of what the runner itself says.
OWN = "run"


class Lines:
    """Honcho's printer for many threads; a terminal that has gone away is no reason to stop."""

    def __init__(self, names: list[str], output: Any = None) -> None:
        self._printer = Printer(output or sys.stdout, width=max(len(name) for name in [OWN, *names]))
        colours = get_colours()
        self._colours = dict(zip(names, itertools.islice(colours, len(names)), strict=True))
        self._lock = Lock()

    def say(self, text: str) -> None:
        """The runner's own words."""
        self.write(OWN, text)

    def write(self, name: str, data: str | bytes) -> None:
        """Lines of the process `name`."""
        # Printed times are for people at this machine, so they are in its own time zone.
        message = Message("line", data, datetime.now().astimezone(), name, self._colours.get(name))
        with self._lock, suppress(OSError, ValueError):
            self._printer.write(message)
