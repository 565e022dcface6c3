"""Everybody who takes part in `bench fleet`, in the order in which they are run and shown."""

from bench.contest import Contender
from bench.ours import Analytics, Projections, Stateful
from bench.peers.entrants import Faust, KafkaStreams, Quix


def contenders() -> tuple[Contender, ...]:
    """All of them; none has been made ready."""
    return (
        Contender("raw", "bench.contenders.raw"),
        Faust("faust", "bench.peers.faust_plain"),
        Quix("quix", "bench.peers.quix"),
        KafkaStreams("kafka_streams", "CountSenders"),
        Contender("ours_stateless", "bench.contenders.stateless"),
        Stateful("ours_stateful", "bench.contenders.stateful"),
        Analytics("ours_analytics", "bench.contenders.real", "analytics"),
        Projections("ours_projections", "bench.contenders.real", "projections"),
    )
