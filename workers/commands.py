"""The command workers: they decide, and write the truth."""

from agents.commands import DecideCommands
from agents.erasure import EraseRelations
from devconnect.adapters.redis.answers import RedisAnswers
from devconnect.events.topics import CONNECTION_COMMANDS, MESSAGE_COMMANDS, USER_COMMANDS, USER_EVENTS
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One agent a commands topic, and what becomes of a deleted account elsewhere."""
    answers = RedisAnswers(worker.redis)
    for topic in (USER_COMMANDS, CONNECTION_COMMANDS, MESSAGE_COMMANDS):
        step = DecideCommands(
            topic,
            truth=worker.truth,
            publisher=worker.publisher,
            projections=worker.projections,
            answers=answers,
            metrics=worker.metrics,
        )
        worker.add(topic, step)
    worker.add(USER_EVENTS, EraseRelations(worker.reads, worker.publisher))


if __name__ == "__main__":
    main("commands", 8011, wire)
