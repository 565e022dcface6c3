"""Accounts and sessions that the tests of their rules share."""

from typing import Any

import msgspec

from devconnect.domain import accounts
from devconnect.domain.model import AnyDocument, Login, Logins, Snapshot, Ticket, User, ref_of
from devconnect.domain.verdict import Verdict
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SYSTEM, seq_of

AT = 1_700_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
PROFILE = f.Profile(name="Ann", headline="Compilers", about="Parsers.", photo_url="https://x/a.png", skills=("python",))
ANN = User(
    id="ann",
    seq=256,
    email="ann@x",
    profile=PROFILE,
    tier="silver",
    role="member",
    created_at=AT - 9,
    updated_at=AT - 9,
)
GONE = msgspec.structs.replace(ANN, deleted=True, email="")
STAMP: dict[str, Any] = {"id": "c9", "actor": "ann", "at": AT}
SYSTEM_STAMP = {**STAMP, "actor": SYSTEM}
OPERATOR_STAMP = {**STAMP, "actor": "olga"}


def fact(kind: Any, index: int = 0, **fields: Any) -> Any:
    """The event of this kind that the command at offset 9 has caused, as its `index`-th."""
    return kind(id=f"c9.{index}", seq=seq_of(9, index), at=AT, user="ann", **fields)


def changed(document: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(document, **fields)


def login(used: int = 0, **fields: Any) -> Login:
    """Opened an hour ago, or used so long after that."""
    given = {"device": "phone", "place": "net", "created_at": AT - HOUR, "used_at": AT - HOUR + used}
    return Login(**{**given, "expires_at": AT + DAY, "ends_at": AT + 9 * DAY, **fields})


def logins(**sessions: Login) -> Logins:
    return Logins(id="ann", seq=256, sessions=sessions)


def ticket(name: str = "t1", email: str = "ann@x", expires_at: int = AT + 1) -> Ticket:
    return Ticket(id=name, email=email, expires_at=expires_at)


def snapshot(*documents: AnyDocument) -> Snapshot:
    return {ref_of(document): document for document in documents}


def decide(command: c.UserCommand, *documents: AnyDocument, **holders: str) -> Verdict:
    """The verdict on the command at offset 9. `holders` are who holds ann@x and new@x, by the first part."""
    held = {f"{name}@x": user for name, user in {"ann": "ann", **holders}.items()}
    return accounts.decide(command, 9, snapshot(*documents), held)


def after(verdict: Verdict, *documents: AnyDocument) -> Snapshot:
    """The documents as the events leave them."""
    state = snapshot(*documents)
    for event in verdict.events:
        state |= snapshot(*accounts.evolve(state, event))
    return state


def code(verdict: Verdict) -> str | None:
    assert (verdict.problem is None) != (verdict.result is None)
    return verdict.problem.code if verdict.problem else None


def tags(verdict: Verdict) -> list[str]:
    """What has happened: the events' types, a log-out's with its session and reason."""
    return [
        f"{event.session} {event.reason}" if isinstance(event, f.UserLoggedOut) else str(event.__struct_config__.tag)
        for event in verdict.events
    ]
