"""One replay from the first request to the last comparison."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from msgspec import Struct

from devconnect.replay import plan, trace
from devconnect.replay.analyst import Analyst, Promote
from devconnect.replay.client import Gateway, Measured
from devconnect.replay.people import People
from devconnect.replay.player import Player
from devconnect.replay.report import Summary, summarize


class Options(Struct, frozen=True, kw_only=True):
    """What is to be played, and how. `settle` and `patience` are in seconds, `rate` in requests a second."""

    file: Path
    url: str
    limit: int | None = None
    rate: float | None = None
    concurrency: int = 32
    settle: float = 60.0
    patience: float = 60.0
    #: An analyst's token; without one, an analyst signs up.
    token: str | None = None


async def replay(
    options: Options, expected: plan.Tally, promote: Promote, on_row: Callable[[], None], say: Callable[[str], None]
) -> Summary:
    """Plays the file and compares; `expected` is its tally.

    Raises:
        TraceError, RefusedError (for the analyst alone), UnreachableError, or an ExceptionGroup of these.
    """
    run = secrets.token_hex(4)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        gateway = Gateway(
            http, options.url, concurrency=options.concurrency, rate=options.rate, patience=options.patience
        )
        analyst = Analyst(gateway, options.token) if options.token else await Analyst.appoint(gateway, run, promote)
        before = await analyst.steady_counts(options.settle)
        # The requests so far, and those of the comparison, are none of the people's.
        gateway.measured = Measured()
        people = People(gateway, run)
        player = Player(gateway, people, on_row)
        began = time.monotonic()
        try:
            await player.play(plan.steps(trace.read(options.file, options.limit)))
        finally:
            people.close()
        seconds, measured = time.monotonic() - began, gateway.measured
        gateway.measured = Measured()
        say("waiting for the tables")
        differences = await analyst.settled(expected, before, people.users(), options.settle)
        return summarize(run, expected, measured, seconds=seconds, differences=differences, failures=player.failures)
