"""Runs a worker: settings, adapters, the Faust app, the probes, and a quiet end on SIGTERM or Ctrl-C."""

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import faust
import msgspec
import uvloop
from aiokafka.errors import KafkaError
from faust.types import TP

from agents.limiting import Limiter
from agents.processing import Processor, Step
from devconnect import stack
from devconnect.adapters.kafka.topics import TopicsError, check_topics
from devconnect.adapters.mongo.connect import close as close_mongo, connect as connect_mongo
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.listings import MongoListings
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.prometheus import PrometheusMetrics
from devconnect.adapters.redis.connect import connect as connect_redis
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.domain.limits import Limits
from devconnect.events.topics import Topic
from devconnect.ports import metrics as m
from devconnect.ports.clock import SystemClock
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings, SettingsError
from faust_batch.app import agent, create_app, quiet_collector
from faust_batch.membership import FencedError
from faust_batch.producer import BatchProducer
from faust_batch.transport import assigned_partitions
from workers.health import Health
from workers.letters import LetterLog
from workers.probes import Probes
from workers.publisher import BatchPublisher

logger = logging.getLogger(__name__)

#: Seconds between looks whether an operator has allowed more bad records of a partition that is stopped.
ALLOWANCE_SECONDS = 2.0


class Worker:
    """One worker process. A role's file adds its agents, tables and tasks before it runs."""

    def __init__(self, role: str, default_port: int, settings: Settings, *, linger_seconds: float = 0.0) -> None:
        self.role = role
        self.settings = settings
        self.addresses = stack.addresses(settings)
        self.clock = SystemClock()
        self.metrics = PrometheusMetrics()
        self._port = default_port if "PORT" not in os.environ else settings.port
        self.app = create_app(
            group_of(role),
            self.addresses.kafka,
            str(settings.data_dir / "faust" / role),
            instance=f"{role}-{settings.worker_instance or instance_name(self._port)}",
            session_seconds=settings.worker_session,
            linger_seconds=linger_seconds,
        )
        self.producer = BatchProducer(self.addresses.kafka, group_of(role))
        self.publisher = BatchPublisher(self.producer, settings.partitions, self.clock)
        self.letters = LetterLog(self.addresses.kafka)
        self.limits = Limits(
            run=settings.dead_letter_run, share=settings.dead_letter_share, window=settings.dead_letter_window
        )
        self._processors: list[Processor[Any]] = []
        self.redis = connect_redis(self.addresses.redis)
        self.projections = RedisProjections(self.redis)
        self.mongo = connect_mongo(self.addresses.mongo, settings.mongo_db)
        self.truth = MongoTruth(self.mongo)
        self.reads = MongoReads(self.mongo)
        self.listings = MongoListings(self.mongo)
        self.health = Health(self.app, self.addresses.kafka, self.metrics, settings.worker_stall)
        self._started = False
        self._refreshers: list[Callable[[], None]] = []
        self._ready_checks: list[Callable[[], str | None]] = []
        self._starters: list[Callable[[], None]] = []
        self._stoppers: list[Callable[[], Awaitable[None]]] = []
        self._background: list[asyncio.Task[None]] = []
        self._crashing: asyncio.Future[None] | None = None
        self._probes = Probes(
            settings.host,
            self._port,
            metrics=self.metrics,
            refresh=self._refresh,
            live=self._live,
            ready=self._ready,
        )
        self.app.on_partitions_assigned.connect(self._assigned, weak=False)
        self._on_assigned: list[Callable[[Mapping[str, set[int]]], None]] = []
        self._topics: list[str] = []

    def add(self, topic: Topic, step: Step[Any], *, lanes: int = 1) -> None:
        """Have `step` work on the batches of `topic`: on as many at a time as `lanes`, each of other partitions."""
        self._topics.append(topic.name)
        limiter = Limiter(step.name, self.limits, self.letters)
        processor = Processor(step, self.publisher, self.metrics, self.clock, limiter)
        self._processors.append(processor)
        agent(self.app, topic.name, processor, lanes=lanes)

    def on_assigned(self, call: Callable[[Mapping[str, set[int]]], None]) -> None:
        """Call with the partition numbers of each of this worker's topics whenever they were assigned anew."""
        self._on_assigned.append(call)

    def on_start(self, call: Callable[[], None]) -> None:
        """Call once the loop runs."""
        self._starters.append(call)

    def on_stop(self, call: Callable[[], Awaitable[None]]) -> None:
        """Await at the end, when no batch is in hand any more."""
        self._stoppers.append(call)

    def background(self, task: asyncio.Task[None]) -> None:
        """Keep a task that ends with the worker; when it fails, so does the worker."""
        self._background.append(task)
        task.add_done_callback(self._watch)

    def crash(self, error: BaseException) -> None:
        """Stop the worker, loudly: something that it can't do without has failed."""
        self._crashing = asyncio.ensure_future(self.app.crash(error))

    def _watch(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%s failed: %r", task.get_name(), error)
            self.crash(error)

    def ready_when(self, check: Callable[[], str | None]) -> None:
        """The worker is ready when this gives None; otherwise it says why not."""
        self._ready_checks.append(check)

    def refresh_with(self, call: Callable[[], None]) -> None:
        """Call before metrics are read."""
        self._refreshers.append(call)

    # -- life

    async def start(self) -> None:
        """Before the first batch: everything that the agents need."""
        await self._probes.start()
        await check_topics(self.addresses.kafka, self.settings)
        await self.producer.start()
        await self._when_database_answers()
        for call in self._starters:
            call()
        self.background(asyncio.create_task(self._release_what_is_allowed(), name="allowances"))
        self.background(asyncio.create_task(self.health.lookout.run(), name="lookout"))
        self._started = True

    async def stop(self) -> None:
        """After the last batch."""
        await self._probes.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.producer.stop()
        for call in self._stoppers:
            await call()
        await self.redis.aclose()
        await close_mongo(self.mongo)

    async def _when_database_answers(self) -> None:
        while True:
            try:
                return await ensure_indexes(self.mongo)
            except UnavailableError as exc:
                logger.warning("waiting for the database: %s", exc)
                await asyncio.sleep(1.0)

    async def _release_what_is_allowed(self) -> None:
        """Go on with stopped partitions once an operator has allowed it."""
        while True:
            await asyncio.sleep(ALLOWANCE_SECONDS)
            for processor in self._processors:
                for stop in processor.stops():
                    try:
                        allowed = await self.letters.allowed(stop.partition)
                        if allowed.get(stop.topic, -1) >= stop.offset:
                            await processor.release(stop)
                    except (UnavailableError, KafkaError) as exc:
                        logger.warning("can't look what is allowed of %s-%d: %s", stop.topic, stop.partition, exc)

    async def _assigned(self, _app: faust.App, assigned: set[TP], **_: object) -> None:
        found = assigned_partitions(assigned, self._topics)
        for processor in self._processors:
            processor.forget()
        self.metrics.count(m.REBALANCES)
        logger.info("assigned in generation %s: %s", self.app.consumer_generation_id, _listed(found))
        for call in self._on_assigned:
            call(found)

    # -- what the probes tell

    def _refresh(self) -> None:
        self.metrics.set(m.LIVE, to=not any(self._live().values()))
        self.metrics.set(m.READY, to=not any(self._ready().values()))
        if not self._started:
            return
        self.health.refresh()
        for call in self._refreshers:
            call()

    def _live(self) -> dict[str, str | None]:
        return self.health.live() if self._started else {}

    def _ready(self) -> dict[str, str | None]:
        if not self._started:
            return {"start": "waiting for Kafka and the database"}
        checks = self.health.ready()
        checks["partitions"] = self._stopped()
        for number, check in enumerate(self._ready_checks):
            checks[f"{self.role}-{number}"] = check()
        return checks

    def _stopped(self) -> str | None:
        stops = [(each.name, stop) for each in self._processors for stop in each.stops()]
        return "; ".join(f"{agent} has stopped {s.topic}-{s.partition} at {s.offset}" for agent, s in stops) or None


class FleetApp(faust.Worker):
    """Faust's worker, with our own start before and our own end after the app's."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.app, quiet=True, redirect_stdouts=False, override_logging=False)
        self.spinner = None  # it writes terminal codes into logs
        self._worker = worker

    async def on_first_start(self) -> None:
        """Make ready what the agents need, then start the app."""
        await self._worker.start()
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        """The app has stopped: let go of the rest."""
        await super().on_shutdown()
        await self._worker.stop()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for chatty in ("faust", "mode", "aiokafka"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _listed(found: Mapping[str, set[int]]) -> str:
    return ", ".join(f"{topic} {sorted(partitions)}" for topic, partitions in sorted(found.items())) or "nothing"


def applied_up_to(worker: Worker, topic: str, partition: int) -> int:
    """The offset up to which this worker is done with a partition; 0 where it knows of nothing."""
    return worker.app.consumer.ledger.front(TP(topic, partition)) or 0


def group_of(role: str) -> str:
    """The consumer group of the workers of a role."""
    return f"devconnect-{role}"


def instance_name(port: int) -> str:
    """What tells this process from the others of its role where nobody has said it: no two share a host and a port."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{socket.gethostname()}-{port}")


def main(role: str, default_port: int, wire: Callable[[Worker], None], *, linger_seconds: float = 0.0) -> None:
    """Run a worker of this role until it is told to stop; one line and a non-zero exit when it can't start.

    One whose work nobody waits for lets records gather for `linger_seconds`.
    """
    worker: Worker | None = None
    try:
        settings = Settings.load()
        _log_to_stderr(settings.log_level)
        uvloop.install()
        quiet_collector()
        worker = Worker(role, default_port, settings, linger_seconds=linger_seconds)
        wire(worker)
        FleetApp(worker).execute_from_commandline()
    except asyncio.CancelledError:
        # Faust's fetcher was cancelled by a crash, and is reraised in the place of what it crashed of.
        sys.exit(f"{role}: {(worker and worker.app.failure) or 'cancelled'}")
    except FencedError as exc:
        sys.exit(f"{role}: {exc} (WORKER_INSTANCE)")
    except (SettingsError, stack.StackError, TopicsError, OSError, msgspec.MsgspecError) as exc:
        sys.exit(f"{role}: {exc}")
