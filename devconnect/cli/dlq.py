"""`dlq`: the dead letters: look at them, try them again, drop them; and let a stopped partition go on."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import click
import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table as Grid

from agents.notifications import DeliverInApp, on_notifications
from agents.retrying import RefusedError, Retry
from devconnect import stack
from devconnect.adapters.kafka.topics import TopicsError, check_topics
from devconnect.adapters.mongo.connect import close as close_mongo, connect as connect_mongo
from devconnect.adapters.mongo.listings import MongoListings
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.prometheus import PrometheusMetrics
from devconnect.adapters.redis.connect import connect as connect_redis
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.cli.errors import CliError
from devconnect.domain import letters as d
from devconnect.domain.letters import Allowance, Letter, Mark
from devconnect.events.topics import DEAD_LETTERS, REGISTRY
from devconnect.ports.clock import SystemClock
from devconnect.ports.publisher import Record
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from faust_batch.producer import BatchProducer
from workers.channels import resend
from workers.deliveries import decide_deliveries, telling
from workers.letters import LetterLog, allowance_record, mark_record
from workers.mail import send_mail
from workers.publisher import BatchPublisher

T = TypeVar("T")

#: Seconds that a letter may take.
DEADLINE = 20.0
#: Characters of a cause in the list.
CAUSE_SHOWN = 60


@click.group()
def dlq() -> None:
    """Look at dead letters, try them again, drop them."""


@dlq.command("list")
@click.option("--topic", help="Only letters of this topic.")
@click.option("--agent", help="Only letters of this agent.")
@click.option("--all", "every", is_flag=True, help="Those that are retried or dropped, too.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="So many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def list_letters(*, topic: str | None, agent: str | None, every: bool, limit: int, as_json: bool) -> None:
    """List the open letters in the order of their places."""
    letters = _run(_read(Settings.load()))
    names = d.ids(letters)
    found = [letter for letter in _of(letters, topic, agent) if every or letter.state == "open"]
    if as_json:
        items = [_row(letter, names) for letter in found[:limit]]
        click.echo(msgspec.json.encode({"total": len(found), "items": items}))
        return
    if not found:
        click.echo("no letters")
        return
    grid = Grid("id", "agent", "state", "at", "cause")
    for letter in found[:limit]:
        row = _row(letter, names)
        grid.add_row(row["id"], letter.name.agent, letter.state, row["at"], _short(letter.cause))
    Console(width=None if Console().is_terminal else 200).print(grid)
    if len(found) > limit:
        click.echo(f"{len(found) - limit} more: --limit {len(found)} shows all")


@dlq.command()
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(id_: str, *, as_json: bool) -> None:
    """Show one letter whole: where it is from, why it is here, and what it holds."""
    letters = _run(_read(Settings.load()))
    letter = _find(letters, id_)
    row = {**_row(letter, d.ids(letters)), "key": _text(letter.key), "value": _text(letter.value)}
    row["headers"] = {name: _text(value) for name, value in letter.headers}
    if as_json:
        click.echo(msgspec.json.encode(row))
        return
    for name, value in row.items():
        click.echo(f"{name + ':':<11}{value}")


@dlq.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every open letter (with --topic or --agent: of theirs).")
@click.option("--topic", help="With --all: only letters of this topic.")
@click.option("--agent", help="With --all: only letters of this agent.")
@click.option("--with-earlier", is_flag=True, help="Earlier open letters of the same key, too, before them.")
def retry(*, ids: Sequence[str], every: bool, topic: str | None, agent: str | None, with_earlier: bool) -> None:
    """Try letters again, those of one key in their order.

    Exit status 1 when one was refused: it is open still, and so are those of its key behind it.
    """
    _insist(ids, every=every, filtered=bool(topic or agent))
    settings = Settings.load()

    async def work() -> Tally:
        letters = await _read(settings)
        chosen = _chosen(letters, ids, every=every, topic=topic, agent=agent)
        plan = d.in_order(letters, {letter.name for letter in chosen}, with_earlier=with_earlier)
        async with _tools(settings) as tools:
            return await _retry_all(tools, plan)

    tally = _run(work())
    click.echo(f"{tally.done} retried, {tally.refused} refused")
    if tally.refused:
        raise SystemExit(1)


@dlq.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
def drop(ids: Sequence[str]) -> None:
    """Drop letters: they are listed no more, and nothing is done about them."""
    settings = Settings.load()

    async def work() -> int:
        letters = await _read(settings)
        chosen = _chosen(letters, ids, every=False, topic=None, agent=None)
        async with _publisher(settings) as publisher:
            for letter in chosen:
                await _mark(publisher, Mark(letter.name, "dropped"))
        return len(chosen)

    click.echo(f"{_run(work())} dropped")


@dlq.command()
@click.argument("topic", type=click.Choice([topic.name for topic in REGISTRY]))
@click.argument("partition", type=click.IntRange(min=0))
@click.option("--up-to", type=click.IntRange(min=0), required=True, help="The last offset that this holds for.")
def allow(topic: str, partition: int, *, up_to: int) -> None:
    """Let any number of bad records of PARTITION of TOPIC be buried, up to an offset.

    A worker that has stopped the partition goes on within seconds.
    """
    settings = Settings.load()
    if partition >= settings.partitions:
        raise CliError(f"{topic} has the partitions 0 to {settings.partitions - 1}")

    async def work() -> None:
        async with _publisher(settings) as publisher:
            record = allowance_record(Allowance(topic, partition, up_to), _now())
            await _publish(publisher, partition, record)

    _run(work())
    click.echo(f"bad records of {topic}-{partition} may all be buried up to offset {up_to}")


# -- what the commands share


class Tools(NamedTuple):
    """What a retry needs."""

    publisher: BatchPublisher
    retry: Retry


class Tally(NamedTuple):
    """How many letters were retried and how many refused."""

    done: int
    refused: int


async def _retry_all(tools: Tools, plan: Sequence[Letter]) -> Tally:
    done, refused = 0, 0
    closed: set[tuple[str, str, int, bytes | None]] = set()
    for letter in plan:
        if letter.key is not None and letter.line in closed:
            refused += 1
            click.echo(f"{letter.name}: an earlier letter of the same key was refused", err=True)
            continue
        try:
            async with asyncio.timeout(DEADLINE):
                await tools.retry(letter)
        except RefusedError as exc:
            refused += 1
            closed.add(letter.line)
            click.echo(f"{letter.name}: {exc}", err=True)
            continue
        # A kill between the two leaves the letter open: trying it twice has the effects of once.
        await _mark(tools.publisher, Mark(letter.name, "retried"))
        done += 1
    return Tally(done, refused)


async def _read(settings: Settings) -> d.Letters:
    bootstrap = _addresses(settings).kafka
    await check_topics(bootstrap, settings)
    entries: list[d.Entry] = []
    async for chunk in LetterLog(bootstrap).read(range(settings.partitions)):
        entries += chunk
    return d.gather(entries)


def _of(letters: d.Letters, topic: str | None, agent: str | None) -> list[Letter]:
    return [letter for name, letter in letters.items() if topic in (None, name.topic) and agent in (None, name.agent)]


def _insist(ids: Collection[str], *, every: bool, filtered: bool) -> None:
    if bool(ids) == every:
        raise CliError("say which letters: their ids, or --all", exit_code=2)
    if filtered and not every:
        raise CliError("--topic and --agent go with --all", exit_code=2)


def _chosen(
    letters: d.Letters, ids: Sequence[str], *, every: bool, topic: str | None, agent: str | None
) -> list[Letter]:
    if every:
        return [letter for letter in _of(letters, topic, agent) if letter.state == "open"]
    chosen = [_find(letters, text) for text in ids]
    for letter in chosen:
        if letter.state != "open":
            raise CliError(f"{letter.name} is {letter.state} already")
    return chosen


def _find(letters: d.Letters, text: str) -> Letter:
    try:
        return d.find(letters, text)
    except d.UnknownLetterError as error:
        raise CliError(str(error)) from None


def _row(letter: Letter, names: dict[d.Name, str]) -> dict[str, Any]:
    return {
        "id": names[letter.name],
        "agent": letter.name.agent,
        "topic": letter.name.topic,
        "partition": letter.name.partition,
        "offset": letter.name.offset,
        "state": letter.state,
        "at": datetime.fromtimestamp(letter.at / 1000, UTC).isoformat(timespec="milliseconds"),
        "cause": letter.cause,
    }


def _short(text: str) -> str:
    return text if len(text) <= CAUSE_SHOWN else text[: CAUSE_SHOWN - 1] + "…"


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="backslashreplace")


@asynccontextmanager
async def _publisher(settings: Settings) -> AsyncIterator[BatchPublisher]:
    bootstrap = _addresses(settings).kafka
    await check_topics(bootstrap, settings)
    producer = BatchProducer(bootstrap, "devconnect-dlq")
    await producer.start()
    try:
        yield BatchPublisher(producer, settings.partitions, SystemClock())
    finally:
        await producer.stop()


@asynccontextmanager
async def _tools(settings: Settings) -> AsyncIterator[Tools]:
    addresses = _addresses(settings)
    redis = connect_redis(addresses.redis)
    mongo = connect_mongo(addresses.mongo, settings.mongo_db)
    try:
        async with _publisher(settings) as publisher:
            stores = telling(mongo), publisher, RedisProjections(redis), MongoListings(mongo), MongoReads(mongo)
            metrics = PrometheusMetrics()
            decide = decide_deliveries(mongo, redis, publisher, metrics)
            told = on_notifications(DeliverInApp(MongoTruth(mongo), RedisProjections(redis), publisher), decide)
            yield Tools(publisher, Retry(*stores, send_mail(settings, mongo, metrics), told, *resend(mongo)))
    finally:
        await redis.aclose()
        await close_mongo(mongo)


async def _mark(publisher: BatchPublisher, mark: Mark) -> None:
    await _publish(publisher, mark.name.partition, mark_record(mark, _now()))


async def _publish(publisher: BatchPublisher, partition: int, record: Record) -> None:
    async with asyncio.timeout(DEADLINE):
        await publisher.publish(DEAD_LETTERS.name, partition, [record])


def _addresses(settings: Settings) -> stack.Addresses:
    try:
        return stack.addresses(settings)
    except stack.StackError as error:
        raise CliError(str(error)) from None


def _now() -> int:
    return time.time_ns() // 1_000_000


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (TopicsError, UnavailableError) as error:
        raise CliError(str(error)) from None
    except d.OutOfOrderError as error:
        raise CliError(str(error)) from None
    except (KafkaError, TimeoutError) as error:
        raise CliError(
            f"Kafka can't be used ({type(error).__name__}): `python -m devconnect status` says more"
        ) from None
