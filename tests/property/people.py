"""The commands that people give in the simulation: mostly ones that will be accepted, some that won't."""

from random import Random
from typing import Any

from devconnect.events import commands as c
from devconnect.events.base import SEQ_STRIDE

PEOPLE = ("ann", "bob", "cem", "dea")
AT = 1_700_000_000_000
#: Each few commands share a minute, and some hundred of them take more than a day.
TOGETHER, STEP_MS = 3, 1_200_000


def beginning() -> tuple[c.AnyCommand, ...]:
    """Accounts; the simulation connects them."""
    return tuple(
        c.SignUp(**_stamp(number, name), user=name, email=f"{name}@x", password_hash="h", name=name)
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


def a_command(random: Random, number: int) -> c.AnyCommand:
    """The `number`-th command: half of them messages to or by the one whom everybody knows."""
    actor, other = random.sample(PEOPLE, 2)
    stamp = _stamp(number, actor)
    if random.randrange(2):
        peer = PEOPLE[0] if actor != PEOPLE[0] else other
        return c.SendMessage(**stamp, to=peer, text=f"t{number}")
    return random.choice((_about_oneself, _between_two))(random, stamp, actor, other)


def _about_oneself(random: Random, stamp: dict[str, Any], actor: str, _: str) -> c.AnyCommand:
    session = f"{actor}.{random.randrange(4)}"
    return random.choice(
        (
            # An address begins with the name of who may take it, as do their ids: all of them are in one partition.
            c.SignUp(**stamp, user=f"{actor}@{random.randrange(2)}", email=f"{actor}@x", password_hash="h", name=actor),
            c.ChangeProfile(**stamp, headline=stamp["id"]),
            c.LogIn(**stamp, session=session, expires_at=AT * 2),
            c.LogOut(**stamp, session=session),
            c.GoOnline(**stamp, session=session, until=stamp["at"]),
        )
    )


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
