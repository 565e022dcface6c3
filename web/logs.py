"""Logs: one JSON object a line, and nothing in it that belongs to a person."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType

import msgspec

log = logging.getLogger("web")

#: Frames of a traceback that a line holds.
FRAMES = 8


class JsonLines(logging.Formatter):
    """Time, level, logger and message; of an exception its type and its way, never its text, which may quote data."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["way"] = way(record.exc_info[2])
        return msgspec.json.encode(line).decode()


def way(trace: TracebackType | None) -> list[str]:
    """The last frames of a traceback as `module:line function`."""
    frames = list(traceback.walk_tb(trace))[-FRAMES:]
    return [f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}" for frame, line in frames]


def report(method: str, route: str, exc: Exception, reference: str) -> None:
    """Log a failure that nobody expected under a reference to find it by."""
    log.error("internal_error %s at %s %s", reference, method, route, exc_info=exc)


def configure(level: str) -> None:
    """Lines to stderr. The libraries' own are left out where ours say the same."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("aiokafka", "aiohttp.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
