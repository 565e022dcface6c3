"""A sudden death for the tests, of an analytics worker that has this folder in its PYTHONPATH.

It kills itself, as `kill -9` would, when it has for the first time done the step that DIES_AT names.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def _die_after(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    async def mortal(*arguments: Any) -> Any:
        result = await real(*arguments)
        if when(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, mortal)


if "workers.analytics" in sys.orig_argv and (step := os.environ.get("DIES_AT")):
    from aiokafka import AIOKafkaProducer

    from faust_batch.table import BatchTable
    from workers import publisher, windows

    match step:
        case "parts are given":
            _die_after(publisher.BatchPublisher, "publish", lambda _, topic, *__: topic == "analytics-parts")
        case "the mark is set":
            _die_after(BatchTable, "write", lambda _, __, changed: any(key.startswith("~") for key in changed))
        case "the log is open":
            _die_after(windows.KafkaWindowLog, "open")
        case "all is sent":
            _die_after(windows, "_send")
        case "all is committed":
            _die_after(AIOKafkaProducer, "commit_transaction")
