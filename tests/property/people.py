"""The commands that people give in the simulation: mostly ones that will be accepted, some that won't."""

from random import Random
from typing import Any

from devconnect.events import commands as c
from devconnect.events.base import SEQ_STRIDE, SYSTEM
from devconnect.events.facts import Privacy

PEOPLE = ("ann", "bob", "cem", "dea")
AT = 1_700_000_000_000
#: Each few commands share a minute, and some hundred of them take more than a day.
TOGETHER, STEP_MS = 3, 1_200_000


def beginning() -> tuple[c.AnyCommand, ...]:
    """Accounts; the simulation connects them."""
    return tuple(
        c.SignUp(**_stamp(number, name), user=name, email=f"{name}@x", password_hash=f"h{number}", name=name)
        for number, name in enumerate(PEOPLE)
    )


def connecting() -> tuple[c.AnyCommand, ...]:
    """Everybody asks the first, who asks nobody: each is connected with them once the first has asked back."""
    first, *others = PEOPLE
    asked = [(name, first) for name in others] + [(first, name) for name in others]
    return tuple(
        c.RequestConnection(**_stamp(10 + number, actor), to=other, interest="interested")
        for number, (actor, other) in enumerate(asked)
    )


def some_commands(random: Random, number: int) -> tuple[c.AnyCommand, ...]:
    """The `number`-th command, and what may follow it at once: half are messages to or by the one whom all know."""
    actor, other = random.sample(PEOPLE, 2)
    stamp = _stamp(number, actor)
    if random.randrange(2):
        peer = PEOPLE[0] if actor != PEOPLE[0] else other
        return (c.SendMessage(**stamp, to=peer, text=f"t{number}"),)
    if not random.randrange(8):
        return _about_addresses(random, stamp, actor, other)
    return (random.choice((_about_oneself, _about_sessions, _between_two))(random, stamp, actor, other),)


def _about_oneself(random: Random, stamp: dict[str, Any], actor: str, other: str) -> c.AnyCommand:
    system = {**stamp, "actor": SYSTEM}
    return random.choice(
        (
            c.ChangeProfile(**stamp, headline=stamp["id"]),
            c.ChangePrivacy(**stamp, privacy=Privacy(discoverable=bool(random.randrange(2)))),
            c.ChangeRole(**system, user=other, role=random.choice(("member", "analyst", "operator"))),
            c.GoOnline(**stamp, session=f"{actor}.{random.randrange(4)}", until=stamp["at"]),
        )
    )


def _about_sessions(random: Random, stamp: dict[str, Any], actor: str, _: str) -> c.AnyCommand:
    session, successor = (f"{actor}.{random.randrange(4)}" for _ in range(2))
    ends: dict[str, int] = {"expires_at": AT * 2, "ends_at": AT * 3}
    return random.choice(
        (
            c.LogIn(**stamp, session=session, **ends),
            c.LogOut(**stamp, session=session),
            c.LogOutEverywhere(**stamp, keep=session),
            c.RenewSession(
                **stamp, session=session, generation=random.randrange(3), expires_at=AT * 2, successor=successor
            ),
            c.ChangePassword(**stamp, session=session, successor=successor, password_hash=stamp["id"], **ends),
        )
    )


def _about_addresses(random: Random, stamp: dict[str, Any], actor: str, other: str) -> tuple[c.AnyCommand, ...]:
    """What changes who has which address; now and then somebody leaves for good.

    An address begins with the name of who may sign up with it, as do their ids: all of them are in one partition.
    """
    email = f"{random.choice((actor, other))}@{random.choice('xy')}"
    follow = {**stamp, "id": f"f{stamp['id']}"}
    match random.randrange(8):
        case 0 | 1 | 2 | 3:
            return (
                c.ChangeEmail(**stamp, email=email),
                c.ConfirmEmail(**follow, ticket=stamp["id"], email=email),
            )
        case 4:
            return (
                c.RequestPasswordReset(**stamp, user=actor, email=f"{actor}@x"),
                c.ResetPassword(**follow, ticket=stamp["id"], password_hash=stamp["id"]),
            )
        case 5 | 6:
            user = f"{actor}@{stamp['id']}"
            signing = {"user": user, "email": f"{actor}@{random.choice('xy')}", "password_hash": stamp["id"]}
            return (c.SignUp(**stamp, name=actor, **signing), c.DeleteAccount(**{**follow, "actor": user}))
        case _:
            return (c.DeleteAccount(**stamp),) if actor == PEOPLE[-2] else ()


def leaving(person: str) -> c.AnyCommand:
    """The last that is heard of somebody."""
    return c.DeleteAccount(**_stamp(10_000, person))


def _between_two(random: Random, stamp: dict[str, Any], actor: str, other: str) -> c.AnyCommand:
    up_to = random.randrange(30 * SEQ_STRIDE)
    # A message's place, which may be nobody's; most are said to or by the one whom everybody knows.
    place = (random.randrange(60) + 1) * SEQ_STRIDE
    peer = other if actor == PEOPLE[0] else PEOPLE[0]
    change = random.choice(
        (
            c.EditMessage(**stamp, peer=peer, message=place, text=f"e{place}"),
            c.DeleteMessage(**stamp, peer=peer, message=place),
        )
    )
    return random.choice(
        (
            change,
            change,
            change,
            c.WithdrawRequest(**stamp, to=other),
            c.BlockUser(**stamp, other=other),
            c.UnblockUser(**stamp, other=other),
            c.UnblockUser(**stamp, other=other),
            c.ReportUser(**stamp, other=other, reason="spam"),
            c.CloseReport(
                **stamp,
                report=f"c{random.randrange(200)}",
                reporter=other,
                reported=random.choice(PEOPLE),
                outcome="read",
                authority="operator",
            ),
            c.RequestConnection(**stamp, to=other, interest=random.choice(("interested", "interested", "ignored"))),
            c.ReviewConnection(**stamp, requester=other, verdict=random.choice(("accepted", "accepted", "rejected"))),
            c.RemoveConnection(**stamp, other=other),
            c.MarkRead(**stamp, peer=other, up_to=up_to),
            c.MarkDelivered(**stamp, peer=other, up_to=up_to),
        )
    )


def _stamp(number: int, actor: str) -> dict[str, Any]:
    return {"id": f"c{number}", "actor": actor, "at": AT + number // TOGETHER * STEP_MS, "fingerprint": f"f{number}"}
