"""The real workers of a role, wired as the fleet wires them: `python -m bench.contenders.real analytics`."""

import sys

from bench.contenders.watch import Watch, prepare
from bench.task import read_task
from devconnect.settings import Settings
from workers import analytics, projections, runtime

ROLES = {"analytics": analytics.wire, "projections": projections.wire}


def main(role: str) -> None:
    """Run until we are told to stop. The consumer group is the run's own, so that it starts from the first event."""
    prepare()
    task = read_task()
    worker = runtime.Worker(task.group, 0, Settings.load())
    runtime.agent = Watch(task, worker.app).add  # type: ignore[attr-defined]  # what `Worker.add` calls
    ROLES[role](worker)
    runtime.FleetApp(worker).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1])
