"""One server under load."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.gateways.entrants import Entrant
from bench.rig import environment
from bench.served import Served
from devconnect.runner import readiness
from devconnect.settings import Settings
from devconnect.stack import Addresses, ports

#: Seconds that a server has to end by itself.
GRACE = 10.0


class Server(Served):
    """An entrant of `bench gateway`."""

    def __init__(self, entrant: Entrant, settings: Settings, addresses: Addresses) -> None:
        self.entrant = entrant
        env = {**environment(settings, addresses), **entrant.env}
        log = settings.data_dir / "bench" / f"{entrant.name}.log"
        super().__init__(entrant.command, env, port=int(env["PORT"]), log=log, grace=GRACE)

    def wait(self) -> None:
        """Until it is ready; BenchError when it dies, or isn't in time."""
        self._wait(self._ready)

    def _ready(self) -> bool:
        if self.entrant.ours:
            return readiness.ask(ports.LOOPBACK, self.port).ready
        return ports.listening(self.port)


@contextmanager
def serving(entrant: Entrant, settings: Settings, addresses: Addresses) -> Iterator[Server]:
    """The server, from its start; `wait` for it. Ended at the end."""
    server = Server(entrant, settings, addresses)
    try:
        yield server
    finally:
        server.stop()
