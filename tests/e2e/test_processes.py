"""`GATEWAY_PROCESSES=2` with everything real behind it: what one of them has taken the other can tell of."""

from pathlib import Path

from tests.e2e.gateways import ask
from tests.e2e.people import PASSWORD, Client
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until


def test_two_processes_are_one_gateway(tmp_path: Path) -> None:
    with System(tmp_path, GATEWAY_PROCESSES="2").running() as system:

        def serving() -> int:
            found: int = ask(system.url, "GET", "/health/ready").reply.body["processes"]["serving"]
            return found

        wait_until(lambda: serving() == 2, PATIENCE, "both serving")
        # Each request is on a connection of its own: any of the processes may get it.
        client, signed_up = Client(system.url), 0
        while len(sent := sent_by(system)) < 2 or signed_up < 10:
            assert signed_up < 100, sent
            body = {"email": f"p{signed_up}@example.org", "password": PASSWORD, "name": "P"}
            assert client.send("POST", "/v1/users", body).status == 201
            signed_up += 1
        assert set(sent) == {"0", "1"}
        assert sum(sent.values()) == signed_up


def sent_by(system: System) -> dict[str, float]:
    """Process -> the commands that it has sent."""
    lines = [line for line in system.metrics("gateway").splitlines() if "_commands_sent_total{" in line]
    return {line.partition('process="')[2][0]: float(line.rpartition(" ")[2]) for line in lines}
