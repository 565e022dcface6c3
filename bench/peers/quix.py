"""Quix Streams with state, in a Python of its own: nothing of the project is imported here."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import quixstreams
from quixstreams import Application, State

task = json.loads(sys.stdin.readline())
total = sum(task["ends"].values()) - sum(task["begins"].values())
folder = Path(task["folder"])
folder.mkdir(parents=True, exist_ok=True)


class Run:
    """Counts, and notes the times."""

    def __init__(self) -> None:
        self.done = 0
        self.began = self.half = self.ended = 0.0

    def count(self, value: Any, state: State) -> None:
        """The state of a sender: how many events, and when the last was."""
        if not self.done:
            self.began = time.monotonic()
        seen = state.get("seen")
        state.set("seen", [seen[0] + 1 if seen else 1, value["at"]])
        self.done += 1
        if not self.half and self.done * 2 >= total:
            self.half = time.monotonic()
        if self.done == total:
            app.stop()

    def commit(self, *args: Any, **kwargs: Any) -> None:
        """Quix commits the offsets last, after the changelog was flushed: then it is over."""
        commit(*args, **kwargs)
        if self.done == total and not self.ended:
            self.ended = time.monotonic()
            notes = {"quixstreams": quixstreams.__version__}
            times = {"began": self.began, "half": self.half, "ended": self.ended}
            print(json.dumps({"events": self.done, **times, "notes": notes}), flush=True)


run = Run()
app = Application(
    broker_address=task["bootstrap"],
    consumer_group=task["group"],
    auto_offset_reset="earliest",
    state_dir=folder,
    loglevel=logging.WARNING,
)
commit = app._consumer.commit
app._consumer.commit = run.commit
topic = app.topic(task["topic"], key_deserializer="str", value_deserializer="json")
app.dataframe(topic).update(run.count, stateful=True)
app.run()
sys.stdin.readline()
