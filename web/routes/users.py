"""People: sign-up, somebody's card, and what operators do to accounts."""

from typing import Any

from devconnect.events import commands as c
from web import answers, bodies
from web.answers import Account, AuditEntry, Card
from web.calls import AnyCall, Call
from web.operations import Operation, Page, Reply, action, command, read
from web.problems import user_unknown
from web.queries import NoQuery, PageQuery
from web.requests import paged


async def sign_up(call: Call[bodies.SignUp, NoQuery]) -> Reply:
    """Open an account."""
    gateway, body = call.gateway, call.body
    email, profile = bodies.address_of(body), bodies.profile_of(body)
    call.order = gateway.commander.order(call.request, email, body)
    headers = await call.charge()
    await gateway.doorkeeper.insist_on(body.password, (email, profile["name"]))
    attempt = await gateway.doorkeeper.attempt("sign_up", email, gateway.place(call.request))
    user = gateway.ids.user(call.order.id, email, gateway.parts.commands)
    hashed = await gateway.parts.passwords.hash(body.password)
    order = c.SignUp(**call.order.common(user), user=user, email=email, password_hash=hashed, **profile)
    outcome = await gateway.commander.ask(order, call.order.wait)
    if outcome.decision is None or outcome.decision.problem is None:
        await gateway.doorkeeper.succeeded(attempt)
    return Reply(outcome=outcome, headers=headers)


async def read_user(call: AnyCall) -> Reply:
    """Somebody as the reader may see them."""
    reading, user = call.gateway.reads.reading(), call.user()
    [found] = await reading.users([user])
    [relation] = await reading.relations_to(call.me.user.id, [user])
    if found is None or found.deleted or relation.state == "barred":
        raise user_unknown()
    return Reply(data=answers.card(found, relation), source=reading.source)


def change_tier(call: Call[bodies.ChangeTier, NoQuery]) -> c.ChangeTier:
    """Give somebody another membership tier."""
    return c.ChangeTier(
        **call.common(), user=call.user(), tier=call.body.tier, authority=call.me.role, reason=call.body.reason
    )


def change_role(call: Call[bodies.ChangeRole, NoQuery]) -> c.ChangeRole:
    """Give somebody another role."""
    return c.ChangeRole(
        **call.common(), user=call.user(), role=call.body.role, authority=call.me.role, reason=call.body.reason
    )


async def read_audit(call: Call[None, PageQuery]) -> Reply:
    """Who changed somebody's tier and role, newest first."""
    asked = call.query
    page = await paged(asked, call.gateway.parts.accounts.audit(call.user(), asked.cursor, asked.limit))
    return Reply(data={"items": page.items, "next": page.next}, source="database")


_TAG: dict[str, Any] = {"tag": "people"}

OPERATIONS: tuple[Operation, ...] = (
    action(
        "POST",
        "/v1/users",
        sign_up,
        "Open an account",
        who="anybody",
        body=bodies.SignUp,
        status=201,
        answer=Account,
        problems=("email_taken", "password_refused", "too_many_attempts", "too_busy"),
        description="A link that proves the address is mailed there. The account can be used before it is followed.",
        tag="accounts",
    ),
    read("/v1/users/{user}", read_user, "Somebody's card", answer=Card, problems=("user_unknown",), **_TAG),
    command(
        "PUT",
        "/v1/users/{user}/tier",
        change_tier,
        "Give somebody another membership tier",
        who="operator",
        body=bodies.ChangeTier,
        answer=Account,
        problems=("user_unknown",),
        tag="operators",
    ),
    command(
        "PUT",
        "/v1/users/{user}/role",
        change_role,
        "Give somebody another role",
        who="operator",
        body=bodies.ChangeRole,
        answer=Account,
        problems=("user_unknown",),
        description="Rights that rise take effect when a session is renewed, in a session of a new id; others at once.",
        tag="operators",
    ),
    read(
        "/v1/users/{user}/audit",
        read_audit,
        "Who changed somebody's tier and role",
        who="operator",
        query=PageQuery,
        answer=Page[AuditEntry],
        problems=("user_unknown",),
        tag="operators",
    ),
)
