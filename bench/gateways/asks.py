"""One request as it goes over the wire, and what its answer must be: nothing wrong is ever fast."""

import http.client
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from bench.rig import BenchError
from devconnect.stack.ports import LOOPBACK

#: Seconds that one answer may take when it is looked at.
PATIENCE = 10.0
#: Requests that are looked at before a load; more are taken evenly from all.
LOOKED_AT = 8


class Answer(NamedTuple):
    """An answer; `body` is None where it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Ask(NamedTuple):
    """A request, the status that it must get, and what is wrong with an answer of that status ("" for nothing)."""

    raw: bytes
    status: int
    fault: Callable[[Answer], str]

    def check(self, port: int) -> Answer:
        """Send it once; BenchError unless the answer is right."""
        answer = exchange(port, self.raw)
        what = self.raw.partition(b" HTTP/")[0].decode()
        if len(what) > 100:
            what = what[:99] + "…"
        if answer.status != self.status:
            code = answer.body.get("code", "") if isinstance(answer.body, dict) else ""
            raise BenchError(f"{what} was answered {answer.status}, not {self.status} {code}".rstrip())
        if fault := self.fault(answer):
            raise BenchError(f"{what}: {fault}")
        return answer


def request(method: str, path: str, headers: Mapping[str, str], body: Any = None) -> bytes:
    """The bytes of a request; a body other than None is sent as JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}", *(f"{name}: {text}" for name, text in headers.items())]
    payload = b""
    if body is not None:
        payload = msgspec.json.encode(body)
        lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
    return "\r\n".join([*lines, "", ""]).encode() + payload


def exchange(port: int, raw: bytes) -> Answer:
    """What these very bytes are answered; BenchError when that is nothing that can be read."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as connection:
            connection.sendall(raw)
            response = http.client.HTTPResponse(connection, method=raw.partition(b" ")[0].decode())
            response.begin()
            body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"no answer ({type(error).__name__})") from None
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        decoded = None
    # RFC 9110: names of fields have no case.
    return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, decoded)


def sample(asks: Sequence[Ask]) -> list[Ask]:
    """A few of them, evenly."""
    return list(asks[:: max(1, len(asks) // LOOKED_AT)])
