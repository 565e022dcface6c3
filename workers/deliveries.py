"""Builds what decides by which channels people are told of things, and what lets go of it when it is due."""

from agents.deliveries import DecideDeliveries, RaiseDigests, SendDue
from agents.notifications import Telling
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import MongoDeliveries, MongoOccasions
from devconnect.adapters.mongo.digests import MongoDigests
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.focus import RedisFocus
from devconnect.ports.clock import SystemClock
from devconnect.ports.metrics import Metrics
from devconnect.ports.publisher import Publisher


def telling(db: Database) -> Telling:
    """What the notification agents know by."""
    return Telling(MongoTruth(db), MongoOccasions(db), MongoDeliveries(db), MongoDigests(db))


def decide_deliveries(db: Database, redis: Client, publisher: Publisher, metrics: Metrics) -> DecideDeliveries:
    """The agent that decides."""
    return DecideDeliveries(
        truth=MongoTruth(db),
        deliveries=MongoDeliveries(db),
        focus=RedisFocus(redis),
        publisher=publisher,
        clock=SystemClock(),
        metrics=metrics,
    )


def looks(db: Database, publisher: Publisher) -> tuple[SendDue, RaiseDigests]:
    """What is looked for again and again."""
    truth, clock = MongoTruth(db), SystemClock()
    return (
        SendDue(truth=truth, deliveries=MongoDeliveries(db), publisher=publisher, clock=clock),
        RaiseDigests(truth=truth, digests=MongoDigests(db), publisher=publisher, clock=clock),
    )
