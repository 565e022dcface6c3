"""The reader's own account: profile, privacy, password, address, presence, and its end."""

from typing import Any

from devconnect.domain.presence import LEASE_MS
from devconnect.events import commands as c
from devconnect.events.facts import Privacy
from web import bodies
from web.answers import Account, Deleted, EmailConfirmed, LinkSent, OwnPresence, SessionOpened, SessionPending
from web.calls import AnyCall, Call
from web.etags import version_tag
from web.operations import Operation, Reply, action, command, read
from web.problems import ProblemError, bad_field
from web.queries import NoQuery
from web.routes.doors import Opened, lifetime, open_reply


async def read_me(call: AnyCall) -> Reply:
    """The account."""
    me = call.me
    return Reply(data=call.gateway.shown.account(me), source=me.source, etag=version_tag(me.user.seq))


def change_me(call: Call[bodies.ChangeProfile, NoQuery]) -> c.ChangeProfile:
    """Change the profile fields that are given."""
    fields = bodies.profile_of(call.body)
    expected = call.request.headers.get("If-Match", "*")
    if expected != "*":
        fields["expected"] = _version(expected)
    return c.ChangeProfile(**call.common(), **fields)


def _version(tag: str) -> int:
    number = tag.strip('"')
    if tag != f'"{number}"' or not (number.isascii() and number.isdecimal() and len(number) <= 16):
        raise ProblemError(
            "precondition_failed", "If-Match is the ETag of `GET /v1/me`: read it again, then repeat this."
        )
    return int(number)


def change_privacy(call: Call[Privacy, NoQuery]) -> c.ChangePrivacy:
    """Say who sees what."""
    return c.ChangePrivacy(**call.common(), privacy=call.body)


async def change_password(call: Call[bodies.ChangePassword, NoQuery]) -> Reply:
    """Set another password: every session ends, and this one goes on under another id."""
    gateway, me, body = call.gateway, call.me, call.body
    call.order = gateway.commander.order(call.request, me.user.id, body)
    headers = await call.charge()
    await gateway.doorkeeper.insist_on(body.new_password, (me.user.email, me.user.profile.name), "new_password")
    await gateway.doorkeeper.recognise(me, body.current_password, gateway.place(call.request), "current_password")
    hashed = await gateway.parts.passwords.hash(body.new_password)
    ends = lifetime(gateway, call.order.at)
    successor = gateway.ids.session(call.order.id)
    order = c.ChangePassword(
        **call.common(),
        password_hash=hashed,
        session=me.session.id,
        successor=successor,
        expires_at=ends.expires_at,
        ends_at=ends.ends_at,
        place=gateway.place(call.request),
    )
    outcome = await gateway.commander.ask(order, call.order.wait)
    in_cookies = gateway.cookies.access(call.request) is not None and "Authorization" not in call.request.headers
    opened = Opened(me.user.id, successor, ends.expires_at, ends.ends_at)
    return open_reply(call, outcome, opened, headers, status=200, in_cookies=in_cookies)


async def change_email(call: Call[bodies.ChangeEmail, NoQuery]) -> Reply:
    """Have a link mailed to another address, which becomes the account's once it is followed."""
    gateway, me, body = call.gateway, call.me, call.body
    email = bodies.address_of(body)
    if email == me.user.email:
        raise bad_field("email", "is the account's address already")
    call.order = gateway.commander.order(call.request, me.user.id, body)
    headers = await call.charge()
    await gateway.doorkeeper.recognise(me, body.password, gateway.place(call.request), "password")
    order = c.ChangeEmail(**call.common(), email=email)
    return Reply(outcome=await gateway.commander.ask(order, call.order.wait), headers=headers)


def send_verification(call: AnyCall) -> c.RequestEmailVerification:
    """Have another link mailed that proves the address."""
    return c.RequestEmailVerification(**call.common())


async def confirm_email(call: Call[bodies.ConfirmEmail, NoQuery]) -> Reply:
    """Follow a link that was mailed to prove an address."""
    gateway = call.gateway
    link = gateway.read_link("verify-email", call.body.token)
    call.order = gateway.commander.order(call.request, link.user, call.body)
    headers = await call.charge()
    order = c.ConfirmEmail(**call.order.common(link.user), ticket=link.ticket, email=link.email)
    return Reply(outcome=await gateway.commander.ask(order, call.order.wait), headers=headers)


async def delete_me(call: Call[bodies.DeleteAccount, NoQuery]) -> Reply:
    """Close the account: its data goes, its sessions end, its address is free."""
    gateway, me = call.gateway, call.me
    call.order = gateway.commander.order(call.request, me.user.id, call.body)
    headers = await call.charge()
    await gateway.doorkeeper.recognise(me, call.body.password, gateway.place(call.request), "password")
    outcome = await gateway.commander.ask(c.DeleteAccount(**call.common()), call.order.wait)
    return Reply(outcome=outcome, headers=headers)


def set_presence(call: Call[bodies.Presence, NoQuery]) -> c.GoOnline | c.GoOffline:
    """This session's device is here for a while, or is gone."""
    session = call.me.session.id
    if call.body.online:
        return c.GoOnline(**call.common(), session=session, until=call.order.at + LEASE_MS)
    return c.GoOffline(**call.common(), session=session)


_TAG: dict[str, Any] = {"tag": "accounts"}

OPERATIONS: tuple[Operation, ...] = (
    read("/v1/me", read_me, "The own account", answer=Account, **_TAG),
    command(
        "PATCH",
        "/v1/me",
        change_me,
        "Change the profile",
        body=bodies.ChangeProfile,
        answer=Account,
        problems=("precondition_failed", "user_unknown"),
        description="Only the fields that are given change. With `If-Match`, the ETag of `GET /v1/me`, only if nobody "
        "has changed it since.",
        **_TAG,
    ),
    action(
        "DELETE",
        "/v1/me",
        delete_me,
        "Close the account",
        body=bodies.DeleteAccount,
        answer=Deleted,
        problems=("wrong_password", "too_many_attempts", "too_busy", "user_unknown"),
        **_TAG,
    ),
    command(
        "PUT",
        "/v1/me/privacy",
        change_privacy,
        "Say who sees what",
        body=Privacy,
        answer=Account,
        problems=("user_unknown",),
        **_TAG,
    ),
    action(
        "PUT",
        "/v1/me/password",
        change_password,
        "Set another password",
        body=bodies.ChangePassword,
        answer=SessionOpened,
        pending=SessionPending,
        secret=True,
        problems=(
            "wrong_password",
            "too_many_attempts",
            "password_refused",
            "too_busy",
            "user_unknown",
            "session_unknown",
        ),
        description="Every session ends; the one that asks goes on under a new id, with new tokens.",
        **_TAG,
    ),
    action(
        "PUT",
        "/v1/me/email",
        change_email,
        "Move to another address",
        body=bodies.ChangeEmail,
        answer=LinkSent,
        problems=("wrong_password", "too_many_attempts", "too_busy", "user_unknown"),
        description="A link is mailed to the new address, and the account has it once that is followed.",
        **_TAG,
    ),
    command(
        "POST",
        "/v1/me/email/verification",
        send_verification,
        "Have another link mailed that proves the address",
        answer=LinkSent,
        problems=("user_unknown",),
        **_TAG,
    ),
    action(
        "POST",
        "/v1/email-verifications",
        confirm_email,
        "Follow a link that proves an address",
        who="anybody",
        body=bodies.ConfirmEmail,
        answer=EmailConfirmed,
        problems=("link_invalid", "email_taken", "user_unknown"),
        **_TAG,
    ),
    command(
        "PUT",
        "/v1/me/presence",
        set_presence,
        "Say that this session's device is here, or is gone",
        body=bodies.Presence,
        answer=OwnPresence,
        description="It is here until `until` unless it says so again.",
        tag="presence",
    ),
)
