"""One drill from the start of its system to the report."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
from msgspec import Struct

from devconnect.replay.analyst import Analyst
from devconnect.replay.client import Gateway, RefusedError
from tests.drill.faults import SESSION, Faults
from tests.drill.load import Load, Person
from tests.drill.schedule import Fault, plan
from tests.drill.verify import Verdict, Verifier
from tests.e2e.system import System

#: Seconds that all may take to be applied once the load has stopped, and between two looks.
SETTLE, LOOK = 90.0, 1.0
#: Seconds that a request is repeated for while parts are down.
PATIENCE = 120.0
#: Seconds for all the accounts to be opened, for the load to end what is under way, and for one look at everything.
OPEN, FINISH, ONE_LOOK = 120.0, 240.0, 240.0
PEOPLE = 16


class Options(Struct, frozen=True, kw_only=True):
    """`apart`: seconds between two faults on average; `rate`: requests a second at most."""

    seed: int
    faults: int = 30
    apart: float = 4.0
    rate: float = 40.0


class Report(Struct, frozen=True, kw_only=True):
    """What happened, and what came out: counts, and times in seconds.

    `load_seconds` is how long the load went on, `settle_seconds` how long until all was applied after it. `retried`
    requests were sent again, `pending` were answered 202. `repeated` counts records of events that were in their topic
    already, which readers must pass by.
    """

    seed: int
    faults: int
    kinds: dict[str, int]
    schedule: list[str]
    load_seconds: float
    settle_seconds: float
    accepted: int
    refused: int
    messages: int
    requests: int
    retried: int
    pending: int
    events: int
    repeated: int
    windows: int
    differences: list[str]


def run(options: Options, folder: Path, say: Callable[[str], None]) -> Report:
    """Start a system in the folder, have the drill in it, and end it; its data and logs stay there.

    `say` is told of each fault. AssertionError and the client's errors: it could not come to its end. In any case
    nothing is left running.
    """
    system = System(folder, WORKER_SESSION_SECONDS=f"{SESSION:g}")
    try:
        system.start()
        return asyncio.run(_drill(options, system, say))
    finally:
        system.stop()


async def _drill(options: Options, system: System, say: Callable[[str], None]) -> Report:
    schedule, faults = plan(options.seed, options.faults, options.apart), Faults(system)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        gateway = Gateway(http, system.url, concurrency=PEOPLE * 2, rate=options.rate, patience=PATIENCE)
        load = Load(gateway, system.settings, options.seed, secrets.token_hex(4), PEOPLE)
        async with asyncio.timeout(OPEN):
            await load.open()
            analyst = await _appoint(system, gateway, load.people[0])
        began = time.monotonic()
        await _strike(schedule, faults, load, say)
        stopped, measured = time.monotonic(), gateway.measured
        requests, retried, pending = len(measured.seconds), measured.retried, measured.pending
        verdict = await _settled(Verifier(system, gateway, analyst, load))
    book = load.book
    return Report(
        seed=options.seed,
        faults=sum(faults.done.values()),
        kinds=dict(sorted(faults.done.items())),
        schedule=[f"{fault.after:.1f} {fault}" for fault in schedule],
        load_seconds=round(stopped - began, 1),
        settle_seconds=round(time.monotonic() - stopped, 1),
        accepted=len(book.accepted),
        refused=len(book.refused),
        messages=sum(map(len, book.said.values())),
        requests=requests,
        retried=retried,
        pending=pending,
        events=verdict.events,
        repeated=verdict.repeated,
        windows=verdict.windows,
        differences=verdict.differences,
    )


async def _appoint(system: System, gateway: Gateway, person: Person) -> Analyst:
    """One of the people is made an analyst, as the machine's operator does it."""
    done = await asyncio.to_thread(system.cli, "users", "set-role", person.email, "analyst")
    assert done.returncode == 0, done
    analyst = Analyst(gateway, person.token)
    while True:
        try:
            await analyst.rows("events_by_type")
            return analyst
        except RefusedError as error:
            if error.status != 403:
                raise
        await asyncio.sleep(LOOK)


async def _strike(schedule: list[Fault], faults: Faults, load: Load, say: Callable[[str], None]) -> None:
    """The load goes on from before the first fault until all that was down is back from the last."""
    stop = asyncio.Event()
    with closing(faults):
        async with asyncio.TaskGroup() as group:
            working = group.create_task(load.work(stop))
            for fault in schedule:
                await asyncio.sleep(fault.after)
                say(f"{time.strftime('%H:%M:%S')} {fault}")
                faults.strike(fault)
            await asyncio.to_thread(faults.all_back)
            stop.set()
            await asyncio.wait_for(working, FINISH)


async def _settled(verifier: Verifier) -> Verdict:
    """Look until nothing differs, or the time is over."""
    deadline = time.monotonic() + SETTLE
    while True:
        async with asyncio.timeout(ONE_LOOK):
            verdict = await verifier.look()
        if not verdict.differences or time.monotonic() > deadline:
            return verdict
        await asyncio.sleep(LOOK)
