"""What opens a session: its tokens, in the answer or in cookies."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from web.calls import AnyCall
from web.commands import Outcome
from web.cookies import Pair
from web.endpoints import command_response
from web.gateway import Gateway
from web.operations import Reply


class Lifetime(NamedTuple):
    """When a session that is opened now ends: by itself, and whatever comes. Milliseconds since 1970."""

    expires_at: int
    ends_at: int


def lifetime(gateway: Gateway, now: int) -> Lifetime:
    """As the settings say."""
    settings = gateway.parts.settings
    ends_at = now + settings.session_lifetime * 1000
    return Lifetime(min(now + settings.session_idle * 1000, ends_at), ends_at)


class Opened(NamedTuple):
    """A session as its command leaves it, or will."""

    user: str
    session: str
    expires_at: int
    ends_at: int
    generation: int = 0


def open_reply(
    call: AnyCall,
    outcome: Outcome,
    opened: Opened,
    headers: Mapping[str, str],
    *,
    status: int,
    in_cookies: bool,
    more: Mapping[str, Any] | None = None,
) -> Reply:
    """The answer with the session's tokens. One of 202 has them too: they are good as soon as the session exists."""
    if outcome.decision is not None and outcome.decision.problem is not None:
        return Reply(response=command_response(outcome, status, headers))
    if outcome.decision is not None and outcome.decision.result is not None:
        result = outcome.decision.result
        opened = Opened(
            result["user"], result["session"], result["expires_at"], result["ends_at"], result["generation"]
        )
    pair = pair_of(call.gateway, opened)
    shown: dict[str, Any] = {**opened._asdict(), "token_expires_at": pair.access_until, **(more or {})}
    if not in_cookies:
        shown |= {"token": pair.access, "renewal_token": pair.renewal}
    response = command_response(outcome, status, headers, shown)
    if in_cookies:
        call.gateway.cookies.put(response, pair)
    return Reply(response=response)


def pair_of(gateway: Gateway, opened: Opened) -> Pair:
    """The tokens of a session."""
    now = gateway.parts.clock.now_ms()
    until = min(now + gateway.parts.settings.access_token * 1000, opened.expires_at)
    return Pair(
        gateway.tokens.access(opened.user, opened.session, until),
        until,
        gateway.tokens.renewal(opened.user, opened.session, opened.generation, opened.expires_at),
        opened.expires_at,
    )
