"""One drill from the start of its system to the report."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
from msgspec import Struct

from devconnect.replay.client import Gateway
from tests.drill.faults import SESSION, Faults
from tests.drill.load import Load
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
    requests were sent again, `pending` were answered 202. `happened` counts what the people did, by the event's type.
    `repeated` counts records of events that were in their topic
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
    happened: dict[str, int]
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
    with System(folder, WORKER_SESSION_SECONDS=f"{SESSION:g}", ACCESS_TOKEN_SECONDS="1200").running() as system:
        return asyncio.run(_drill(options, system, say))


async def _drill(options: Options, system: System, say: Callable[[str], None]) -> Report:
    schedule, faults = plan(options.seed, options.faults, options.apart), Faults(system)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        gateway = Gateway(http, system.url, concurrency=PEOPLE * 2, rate=options.rate, patience=PATIENCE)
        load = Load(gateway, system.settings, options.seed, secrets.token_hex(4), PEOPLE)
        async with asyncio.timeout(OPEN):
            await load.open()
            await _appoint(system, load)
        began = time.monotonic()
        await _strike(schedule, faults, load, say)
        stopped, measured = time.monotonic(), gateway.measured
        requests, retried, pending = len(measured.seconds), measured.retried, measured.pending
        await load.go_on(load.operator)
        verdict = await _settled(Verifier(system, gateway, load))
    book = load.book
    return Report(
        seed=options.seed,
        faults=sum(faults.done.values()),
        kinds=dict(sorted(faults.done.items())),
        schedule=[f"{fault.after:.1f} {fault}" for fault in schedule],
        load_seconds=round(stopped - began, 1),
        settle_seconds=round(time.monotonic() - stopped, 1),
        accepted=book.accepted,
        refused=len(book.decided) - book.accepted,
        messages=sum(len(talk.said) for talk in book.talks.values()),
        happened=dict(sorted(Counter(fact.type for facts in book.happened.values() for fact in facts).items())),
        requests=requests,
        retried=retried,
        pending=pending,
        events=verdict.events,
        repeated=verdict.repeated,
        windows=verdict.windows,
        differences=verdict.differences,
    )


async def _appoint(system: System, load: Load) -> None:
    """One is made an operator, as the machine's own does it; that holds in a new session."""
    done = await asyncio.to_thread(system.cli, "users", "set-role", load.operator.email, "operator")
    assert done.returncode == 0, done
    await load.rise(load.operator)


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
