"""Static membership: a restarted process takes its partitions back at once, and of two with one name the older ends.

aiokafka joins a group with `group.instance.id` and doesn't leave it at its end. What it lacks, and what is here:

- Its heartbeats and commits don't carry the instance, so that the broker tells a process whose place was taken only
  that it knows it no more; it then joins anew, takes the place back, and the two go on doing so for ever, both at work
  on the same partitions. Here it asks as the member that it was, and is told.
- Errors that end the coordination or the fetching are kept for whoever calls `getmany` of the consumer. Faust doesn't:
  the consumer would be silent from then on.
- The broker compares no subscriptions when a static member comes back: topics that it didn't read before would have no
  reader. So the name that it joins with changes with its topics.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka.errors import KafkaError

#: Kafka's error code; aiokafka has no name for it.
FENCED_INSTANCE_ID = 82

Failed = Callable[[BaseException], None]


class FencedError(KafkaError):
    """Another process has joined the group under this one's name."""


def instance_id(name: str, topics: Iterable[str]) -> str:
    """The `group.instance.id` of the process `name` that reads these topics."""
    return f"{name}-{zlib.crc32(','.join(sorted(topics)).encode()):08x}"


class Guard:
    """Stands around the coordinator and the fetcher of one consumer; `failed` is told what they can't go on after.

    `failed` is called in the consumer's own thread, with the first such error.
    """

    def __init__(self, consumer: Any, failed: Failed) -> None:
        self._coordinator = coordinator = consumer._coordinator
        self._failed = failed
        self._told = False
        #: Who we were in the group before we were told that it knows us no more.
        self._member = ""
        self._rejoin, self._send = coordinator._do_rejoin_group, coordinator._send_req
        coordinator._do_rejoin_group = self._rejoin_as_before
        coordinator._send_req = self._send_and_look
        coordinator._push_error_to_user = self._wait_for_the_end
        for task in (coordinator._coordination_task, consumer._fetcher._fetch_task):
            task.add_done_callback(self._ended)

    async def _rejoin_as_before(self, subscription: Any) -> bool:
        coordinator = self._coordinator
        if not coordinator.member_id and self._member:
            coordinator.member_id, self._member = self._member, ""
        joined: bool = await self._rejoin(subscription)
        if joined and coordinator._group_instance_id:
            self._member = coordinator.member_id
        return joined

    async def _send_and_look(self, request: Any) -> Any:
        response = await self._send(request)
        if getattr(response, "error_code", 0) == FENCED_INSTANCE_ID:
            self._tell(
                FencedError(
                    f"another process has joined group {self._coordinator.group_id} "
                    f"as {self._coordinator._group_instance_id}: each needs a name of its own"
                )
            )
        return response

    async def _wait_for_the_end(self, error: BaseException) -> None:
        self._tell(error)
        await self._coordinator._closing

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._tell(error)

    def _tell(self, error: BaseException) -> None:
        if not self._told:
            self._told = True
            self._failed(error)
