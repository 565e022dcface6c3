"""Whether a process is ready and whether it lives: what its /health says, and a watch until that changes."""

import http.client
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import psutil

#: Seconds between two questions, and seconds that one may take.
EVERY, PATIENCE = 0.15, 3.0
#: Seconds after which a process that isn't ready is mentioned, with its reason.
MENTION = 15.0


#: Seconds between two questions whether a process lives, and how many must fail in a row until it is taken for dead.
LIFE_EVERY, LIFE_FAILURES = 5.0, 4


class Health(NamedTuple):
    """An answer: ready or not, and why not in a few words."""

    ready: bool
    detail: str


def ask(host: str, port: int, path: str = "/health/ready") -> Health:
    """Asks a process over HTTP; never raises for one that isn't there or talks nonsense."""
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return understand(answer.status, answer.read(65_536))
    except ConnectionRefusedError:
        return Health(False, "it doesn't listen yet")
    except TimeoutError:
        return Health(False, f"no answer within {PATIENCE:g} s")
    except (OSError, http.client.HTTPException) as error:
        return Health(False, f"no answer ({type(error).__name__})")
    finally:
        connection.close()


def ask_process(pid: int, host: str, port: int) -> Health:
    """As `ask`, but the answer must be this process's own, and not one of somebody who had the port before it."""
    health = ask(host, port)
    if health.ready and not _listens(pid, port):
        return Health(False, f"another process answers on port {port}")
    return health


def _listens(pid: int, port: int) -> bool:
    try:
        listening = psutil.Process(pid).net_connections("tcp")
    except psutil.AccessDenied:
        return True  # this system doesn't tell
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr[1:2] == (port,) for each in listening)


def understand(status: int, body: bytes) -> Health:
    """An HTTP answer in words: 200 is ready, all else is not, for the reasons that the body names."""
    if status == 200:
        return Health(True, "ready")
    try:
        reasons = "; ".join(_reasons(msgspec.json.decode(body)))
    except msgspec.DecodeError:
        reasons = ""
    return Health(False, reasons or f"status {status}")


def _reasons(body: Any) -> list[str]:
    """The checks that failed, from `{"checks": {name: "ok" or why}}` (workers) or `{"parts": …}` (the gateway)."""
    checks = (body.get("checks") or body.get("parts")) if isinstance(body, dict) else None
    if not isinstance(checks, dict):
        return []
    return [f"{name}: {why}" for name, why in checks.items() if why != "ok"]


def watch(
    question: Callable[[], Health],
    give_up: Callable[[], bool],
    on_late: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float | None:
    """Asks until the answer is yes; returns the seconds that it took, or None where `give_up` came first.

    `on_late` is told why, once, when it takes longer than `MENTION` seconds.
    """
    began, mentioned = clock(), False
    while not give_up():
        health = question()
        passed = clock() - began
        if health.ready:
            return passed
        if passed > MENTION and not mentioned:
            mentioned = True
            on_late(health.detail)
        sleep(EVERY)
    return None


def until_dead(
    question: Callable[[], Health],
    give_up: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Asks until the answer was no so many times in a row; returns why, or None where `give_up` came first.

    A process that has never said yes is still at its start.
    """
    lived, failures = False, 0
    while not give_up():
        health = question()
        lived = lived or health.ready
        failures = 0 if health.ready or not lived else failures + 1
        if failures == LIFE_FAILURES:
            return health.detail
        sleep(LIFE_EVERY)
    return None
