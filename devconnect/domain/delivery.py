"""What an answer to a push message or a webhook's call means, and when another try is made. Pure."""

from typing import Literal

from msgspec import Struct

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS

#: "taken": it has it. "later": another try may do. "too_large": another try with less may do. "gone": it is there no
#: more. "refused": no other try will do.
Verdict = Literal["taken", "later", "too_large", "gone", "refused"]

#: Milliseconds from a try that failed to the next; after the last there is none.
PUSH_WAITS = (5 * SECOND_MS, 30 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS)
WEBHOOK_WAITS = (
    5 * SECOND_MS,
    30 * SECOND_MS,
    2 * MINUTE_MS,
    10 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
)
#: The share of a wait by which it may be shorter or longer, so that not all come back at once.
JITTER = 0.2
#: The longest that is waited since a server asks for it.
ASKED_MAX_MS = DAY_MS
#: A webhook that has taken nothing for so long is switched off.
DISABLED_AFTER_MS = 3 * DAY_MS
#: How long somebody who fails is left alone by all that is for them, at first and at most.
REST_MS, REST_MAX_MS = 2 * SECOND_MS, 5 * MINUTE_MS


class Outcome(Struct, frozen=True):
    """What became of a try; `why` is for people, `after_ms` what the server asks to be left alone for."""

    verdict: Verdict
    why: str = ""
    after_ms: int | None = None


def push_outcome(status: int, text: str, retry_after: float | None) -> Outcome:
    """What a push service's answer means (RFC 8030); `retry_after` in seconds."""
    why = f"{status} {text}".strip()
    if 200 <= status < 300:
        return Outcome("taken", why)
    if status in (404, 410):
        return Outcome("gone", why)
    if status == 413:
        return Outcome("too_large", why)
    if status in (408, 425, 429) or status >= 500:
        return Outcome("later", why, _milliseconds(retry_after))
    return Outcome("refused", why)


def webhook_outcome(status: int, text: str, retry_after: float | None) -> Outcome:
    """What a webhook's answer means: 2xx that it has it, 410 that it is there no more, all else that it may later."""
    why = f"{status} {text}".strip()
    if 200 <= status < 300:
        return Outcome("taken", why)
    if status == 410:
        return Outcome("gone", why)
    return Outcome("later", why, _milliseconds(retry_after))


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else min(round(seconds * 1000), ASKED_MAX_MS)


def next_try(waits: tuple[int, ...], tries: int, asked_ms: int | None, chance: float) -> int | None:
    """Milliseconds until the try after `tries` that have failed; None when there is none.

    `chance` is 0 to 1, and decides how much sooner or later than the plan it is; never before what the server asks for.
    """
    if tries > len(waits):
        return None
    planned = round(waits[tries - 1] * (1 - JITTER + 2 * JITTER * chance))
    return max(planned, asked_ms or 0)


def rest(failures: int, asked_ms: int | None) -> int:
    """Milliseconds for which one who has failed so many times in a row is left alone."""
    return max(min(REST_MS << min(failures - 1, 20), REST_MAX_MS), asked_ms or 0)
