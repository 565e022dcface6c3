"""The command workers: they decide, and write the truth."""

from agents.commands import DecideCommands
from devconnect.adapters.redis.answers import RedisAnswers
from devconnect.events.topics import CONNECTION_COMMANDS, MESSAGE_COMMANDS, USER_COMMANDS
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One agent a commands topic."""
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


if __name__ == "__main__":
    main("commands", 8011, wire)
