"""Sessions: log-in, renewal, log-out, and the list of one's own."""

from typing import Any

from devconnect.domain import normalise
from devconnect.events import commands as c
from web import bodies
from web.answers import (
    LinkSent,
    PasswordSet,
    SessionAnswer,
    SessionEnded,
    SessionList,
    SessionOpened,
    SessionPending,
    SessionsEnded,
)
from web.calls import AnyCall, Call
from web.endpoints import command_response
from web.operations import Operation, Reply, action, read
from web.problems import not_logged_in
from web.queries import NoQuery, SessionsQuery
from web.routes.doors import Opened, lifetime, open_reply

_DEVICE = "Device-Token"


async def log_in(call: Call[bodies.LogIn, NoQuery]) -> Reply:
    """Open a session."""
    gateway, body = call.gateway, call.body
    email = normalise.email(body.email)
    call.order = gateway.commander.order(call.request, email or body.email, body)
    device_token = body.device_token or call.request.headers.get(_DEVICE, "")
    # Where somebody has logged in before they are counted by themselves: strangers near them can't use up their share.
    headers = {} if gateway.doorkeeper.knows(body.email, device_token) else await call.charge()
    place = gateway.place(call.request)
    user, device_token = await gateway.doorkeeper.let_in(body.email, body.password, place, device_token)
    ends = lifetime(gateway, call.order.at)
    order = c.LogIn(
        **call.order.common(user),
        session=gateway.ids.session(call.order.id),
        expires_at=ends.expires_at,
        ends_at=ends.ends_at,
        device=normalise.line(body.device),
        place=place,
    )
    outcome = await gateway.commander.ask(order, call.order.wait)
    opened = Opened(user, order.session, ends.expires_at, ends.ends_at)
    more = {"device_token": device_token}
    return open_reply(call, outcome, opened, headers, status=201, in_cookies=body.cookie, more=more)


async def renew_session(call: Call[bodies.Renew, NoQuery]) -> Reply:
    """Give the next tokens of a session."""
    gateway = call.gateway
    in_cookies = not call.body.renewal_token
    token = call.body.renewal_token or gateway.cookies.renewal(call.request) or ""
    if in_cookies:
        gateway.gate.insist_on_origin(call.request)
    renewal = gateway.tokens.read_renewal(token)
    if renewal is None:
        raise not_logged_in("This renewal token is none of ours, or it is over: log in again.", "invalid_token")
    call.order = gateway.commander.order(call.request, renewal.user, call.body)
    headers = await call.charge()
    ends = lifetime(gateway, call.order.at)
    order = c.RenewSession(
        **call.order.common(renewal.user),
        session=renewal.session,
        generation=renewal.generation,
        expires_at=ends.expires_at,
        successor=gateway.ids.session(call.order.id),
        place=gateway.place(call.request),
    )
    # Only the decision tells which session and generation the next tokens are of.
    outcome = await gateway.commander.ask(order)
    if outcome.decision is None:
        return Reply(outcome=outcome, headers=headers)
    opened = Opened(renewal.user, renewal.session, ends.expires_at, ends.ends_at, renewal.generation + 1)
    return open_reply(call, outcome, opened, headers, status=200, in_cookies=in_cookies)


async def read_sessions(call: AnyCall) -> Reply:
    """The own open sessions."""
    me, now = call.me, call.gateway.parts.clock.now_ms()
    found = await call.gateway.parts.accounts.sessions_of(me.user.id)
    shown = [
        SessionAnswer(
            id=one.id,
            device=one.device,
            place=one.place,
            created_at=one.created_at,
            used_at=one.used_at,
            expires_at=one.expires_at,
            ends_at=one.ends_at,
            current=one.id == me.session.id,
        )
        for one in found
        if one.expires_at > now
    ]
    return Reply(data=SessionList(items=tuple(shown)), source="database")


async def log_out(call: AnyCall) -> Reply:
    """End the session that asks."""
    return await _end(call, call.me.session.id)


async def end_session(call: AnyCall) -> Reply:
    """End one of the own sessions."""
    return await _end(call, call.ident("session", "session_unknown"))


async def _end(call: AnyCall, session: str) -> Reply:
    gateway, me = call.gateway, call.me
    call.order = gateway.commander.order(call.request, me.user.id)
    headers = await call.charge()
    outcome = await gateway.commander.ask(c.LogOut(**call.common(), session=session), call.order.wait)
    return _dropped(call, Reply(outcome=outcome, headers=headers), is_own=session == me.session.id)


async def log_out_everywhere(call: Call[None, SessionsQuery]) -> Reply:
    """End all of the own sessions, or all others."""
    gateway, me = call.gateway, call.me
    call.order = gateway.commander.order(call.request, me.user.id, call.query)
    headers = await call.charge()
    keep = me.session.id if call.query.keep_current else ""
    outcome = await gateway.commander.ask(c.LogOutEverywhere(**call.common(), keep=keep), call.order.wait)
    return _dropped(call, Reply(outcome=outcome, headers=headers), is_own=not keep)


def _dropped(call: AnyCall, reply: Reply, *, is_own: bool) -> Reply:
    """Cookies of a session that is over go with it."""
    if not is_own or reply.outcome is None or "Cookie" not in call.request.headers:
        return reply
    response = command_response(reply.outcome, 200, reply.headers)
    call.gateway.cookies.drop(response)
    return Reply(response=response)


async def request_reset(call: Call[bodies.RequestReset, NoQuery]) -> Reply:
    """Have a link mailed that sets a new password: nobody learns from the answer whether the address has an account."""
    gateway = call.gateway
    email = bodies.address_of(call.body)
    call.order = gateway.commander.order(call.request, email, call.body)
    headers = await call.charge()
    await gateway.doorkeeper.attempt("reset", email, gateway.place(call.request))
    found = await gateway.parts.credentials.credentials(email)
    user = found[0] if found else ""
    order = c.RequestPasswordReset(**call.order.common(user or "nobody"), email=email, user=user)
    # Nobody waits for what becomes of it: that could take longer for the one than for the other.
    return Reply(outcome=await gateway.commander.ask(order, 0.0), headers=headers)


async def confirm_reset(call: Call[bodies.ConfirmReset, NoQuery]) -> Reply:
    """Set a new password by a link that was mailed: every session ends."""
    gateway, body = call.gateway, call.body
    link = gateway.read_link("reset-password", body.token)
    call.order = gateway.commander.order(call.request, link.user, body)
    headers = await call.charge()
    await gateway.doorkeeper.insist_on(body.new_password, (), "new_password")
    hashed = await gateway.parts.passwords.hash(body.new_password)
    order = c.ResetPassword(**call.order.common(link.user), ticket=link.ticket, password_hash=hashed)
    return Reply(outcome=await gateway.commander.ask(order, call.order.wait), headers=headers)


_TAG: dict[str, Any] = {"tag": "sessions"}

OPERATIONS: tuple[Operation, ...] = (
    action(
        "POST",
        "/v1/sessions",
        log_in,
        "Log in",
        who="anybody",
        body=bodies.LogIn,
        status=201,
        answer=SessionOpened,
        pending=SessionPending,
        secret=True,
        problems=("wrong_credentials", "too_many_attempts", "user_unknown", "too_busy"),
        description="An answer of 202 has the tokens, too: they are good as soon as the session exists.",
        **_TAG,
    ),
    action(
        "POST",
        "/v1/sessions/renew",
        renew_session,
        "Renew a session",
        who="anybody",
        body=bodies.Renew,
        answer=SessionOpened,
        secret=True,
        problems=("not_logged_in", "origin_not_allowed", "session_unknown", "token_reused", "user_unknown"),
        description="A renewal token is good once; one that comes a second time ends the session. The session has "
        "another id when its owner's rights have risen.",
        **_TAG,
    ),
    read("/v1/sessions", read_sessions, "The own sessions", answer=SessionList, **_TAG),
    action(
        "DELETE",
        "/v1/sessions",
        log_out_everywhere,
        "Log out everywhere",
        query=SessionsQuery,
        answer=SessionsEnded,
        problems=("user_unknown",),
        **_TAG,
    ),
    action(
        "DELETE", "/v1/sessions/current", log_out, "Log out", answer=SessionEnded, problems=("session_unknown",), **_TAG
    ),
    action(
        "DELETE",
        "/v1/sessions/{session}",
        end_session,
        "End one of the own sessions",
        answer=SessionEnded,
        problems=("session_unknown",),
        **_TAG,
    ),
    action(
        "POST",
        "/v1/password-resets",
        request_reset,
        "Have a link mailed that sets a new password",
        who="anybody",
        body=bodies.RequestReset,
        status=202,
        answer=LinkSent,
        problems=("too_many_attempts",),
        description="The answer is the same whether the address has an account or not.",
        **_TAG,
    ),
    action(
        "POST",
        "/v1/password-resets/confirm",
        confirm_reset,
        "Set a new password by a link",
        who="anybody",
        body=bodies.ConfirmReset,
        answer=PasswordSet,
        problems=("link_invalid", "password_refused", "too_busy", "user_unknown"),
        **_TAG,
    ),
)
