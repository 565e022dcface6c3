"""The projection workers: they keep what people read in Redis up to date."""

from agents.projections import ProjectEvents
from devconnect.events.topics import EVENT_TOPICS
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One agent an events topic."""
    for topic in EVENT_TOPICS:
        worker.add(topic, ProjectEvents(topic, worker.projections))


if __name__ == "__main__":
    main("projections", 8012, wire)
