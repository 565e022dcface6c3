"""`GATEWAY_PROCESSES=2` with everything real behind it: what one of them has taken the other can tell of."""

import http.client
import json
from pathlib import Path
from typing import Any

from tests.e2e.system import System
from tests.waiting import wait_until


def ask(system: System, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """One request on a connection of its own: any of the processes may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
    try:
        sent = {"Content-Type": "application/json", **headers} if body is not None else headers
        connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = connection.getresponse()
        text = answer.read()
        is_json = (answer.headers.get("Content-Type") or "").endswith("json")
        return answer.status, json.loads(text) if is_json else text.decode()
    finally:
        connection.close()


def test_two_processes_are_one_gateway(tmp_path: Path) -> None:
    system = System(tmp_path, GATEWAY_PROCESSES="2")
    try:
        system.start()
        wait_until(lambda: ask(system, "GET", "/health/ready")[1]["processes"]["serving"] == 2, 30, "both serving")
        for number in range(10):
            person = {"email": f"p{number}@example.org", "password": "correct horse battery", "name": "P"}
            assert ask(system, "POST", "/v1/users", person)[0] == 201
        text = ask(system, "GET", "/metrics")[1]
        sent = [line for line in text.splitlines() if line.startswith("devconnect_commands_sent_total{")]
        assert {line.partition('process="')[2][0] for line in sent} == {"0", "1"}
        assert sum(float(line.rpartition(" ")[2]) for line in sent) == 10
    finally:
        system.stop()
