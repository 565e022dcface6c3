"""Sessions: opened, renewed, and ended for one of many reasons. A session that isn't in its user's document is over."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from devconnect.domain.model import AnyDocument, Login, Logins, Ref, Snapshot, User
from devconnect.domain.verdict import Consequences, Verdict, accept, refuse
from devconnect.events import commands as c, facts as f
from devconnect.events.base import EndReason, Role

#: Open sessions that a user may have; one more ends the one that was used longest ago.
MOST = 100
#: Milliseconds for which the renewal token before the last one is taken for the retry of a renewal whose answer was
#: lost, and not for a stolen one.
RETRY_MS = 60_000

#: Roles in rising order.
RANKS: Mapping[Role, int] = {"member": 0, "analyst": 1, "operator": 2}


def effective_role(session: Role, user: Role) -> Role:
    """What somebody may do by a session: what it was opened with, unless they have lost that since."""
    return session if RANKS[session] <= RANKS[user] else user


def account(state: Snapshot, user: str) -> User | None:
    """The account, unless there is none or it was deleted."""
    found = state.get(Ref("user", user))
    return found if isinstance(found, User) and not found.deleted else None


def logins_of(state: Snapshot, user: str) -> Mapping[str, Login]:
    """The user's sessions that haven't been ended, the expired ones among them."""
    found = state.get(Ref("logins", user))
    return found.sessions if isinstance(found, Logins) else {}


def user_unknown() -> Verdict:
    """There is no such account, or no longer."""
    return refuse("user_unknown", "There is no such user: sign up first.")


def session_unknown() -> Verdict:
    """It never was, it is over, or it is somebody else's."""
    return refuse("session_unknown", "This is no open session of yours: log in again.")


def opened(event: f.UserLoggedIn) -> dict[str, Any]:
    """The result of every command that opens a session: all that its tokens are made of."""
    return _tokens(event.user, event.session, event.expires_at, event.ends_at, generation=0)


def _tokens(user: str, session: str, expires_at: int, ends_at: int, *, generation: int) -> dict[str, Any]:
    return {
        "session": session,
        "generation": generation,
        "user": user,
        "expires_at": expires_at,
        "ends_at": ends_at,
    }


def log_in(command: c.LogIn, offset: int, state: Snapshot) -> Verdict:
    """Open a session, at the cost of others where there are too many."""
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    others = {name: login for name, login in logins_of(state, user.id).items() if _is_open(login, command.at)}
    others.pop(command.session, None)
    by_use = sorted(others, key=lambda name: (others[name].used_at, name))
    happened = Consequences(command, offset)
    for session in by_use[: max(0, len(others) + 1 - MOST)]:
        happened.add(f.UserLoggedOut, user=user.id, session=session, reason="too_many")
    ends_at = command.ends_at or command.expires_at
    event = happened.add(
        f.UserLoggedIn,
        user=user.id,
        session=command.session,
        expires_at=min(command.expires_at, ends_at),
        ends_at=ends_at,
        device=command.device,
        place=command.place,
        role=user.role,
    )
    return accept(opened(event), *happened.events)


def renew(command: c.RenewSession, offset: int, state: Snapshot) -> Verdict:
    """Let a session go on; one whose renewal token comes a second time ends, since one of the two is a thief's."""
    user, login = account(state, command.actor), logins_of(state, command.actor).get(command.session)
    if user is None or login is None or not _is_open(login, command.at):
        return session_unknown()
    if command.generation == login.generation:
        return _renewed(command, offset, user, login)
    if command.generation == login.generation - 1 and command.at - login.used_at < RETRY_MS:
        return accept(_tokens(user.id, command.session, login.expires_at, login.ends_at, generation=login.generation))
    happened = Consequences(command, offset)
    happened.add(f.UserLoggedOut, user=user.id, session=command.session, reason="reuse")
    return refuse(
        "token_reused", "This renewal token was used before, so the session is over: log in again.", *happened.events
    )


def _renewed(command: c.RenewSession, offset: int, user: User, login: Login) -> Verdict:
    """The same session, or a new one in its place for somebody whose rights have risen."""
    happened = Consequences(command, offset)
    expires_at = min(command.expires_at, login.ends_at)
    if RANKS[user.role] > RANKS[login.role]:
        happened.add(f.UserLoggedOut, user=user.id, session=command.session, reason="replaced")
        event = happened.add(
            f.UserLoggedIn,
            user=user.id,
            session=command.successor,
            expires_at=expires_at,
            ends_at=login.ends_at,
            device=login.device,
            place=command.place or login.place,
            role=user.role,
        )
        return accept(opened(event), *happened.events)
    generation = login.generation + 1
    happened.add(
        f.SessionRenewed,
        user=user.id,
        session=command.session,
        expires_at=expires_at,
        generation=generation,
        place=command.place,
    )
    return accept(_tokens(user.id, command.session, expires_at, login.ends_at, generation=generation), *happened.events)


def log_out(command: c.LogOut, offset: int, state: Snapshot) -> Verdict:
    """End one session."""
    if command.session not in logins_of(state, command.actor):
        return session_unknown()
    happened = Consequences(command, offset)
    happened.add(f.UserLoggedOut, user=command.actor, session=command.session, reason="log_out")
    return accept({"session": command.session}, *happened.events)


def log_out_everywhere(command: c.LogOutEverywhere, offset: int, state: Snapshot) -> Verdict:
    """End all of them, but for one perhaps."""
    if account(state, command.actor) is None:
        return user_unknown()
    happened = Consequences(command, offset)
    end_all(happened, state, command.actor, "log_out_everywhere", keep=command.keep)
    return accept({"ended": len(happened.events)}, *happened.events)


def end_all(happened: Consequences, state: Snapshot, user: str, reason: EndReason, *, keep: str = "") -> None:
    """Every session of the user ends."""
    for session in logins_of(state, user):
        if session != keep:
            happened.add(f.UserLoggedOut, user=user, session=session, reason=reason)


def _is_open(login: Login, now: int) -> bool:
    return now < min(login.expires_at, login.ends_at)


def evolve(state: Snapshot, event: f.UserLoggedIn | f.SessionRenewed | f.UserLoggedOut) -> tuple[AnyDocument, ...]:
    """The sessions after the event, unless they are ahead of it already."""
    found = state.get(Ref("logins", event.user))
    before = found if isinstance(found, Logins) else Logins(id=event.user, seq=0, sessions={})
    if before.seq >= event.seq:
        return ()
    return (Logins(id=event.user, seq=event.seq, sessions=_after(before.sessions, event)),)


def _after(
    sessions: Mapping[str, Login], event: f.UserLoggedIn | f.SessionRenewed | f.UserLoggedOut
) -> dict[str, Login]:
    match event:
        case f.UserLoggedIn():
            kept = {name: login for name, login in sessions.items() if _is_open(login, event.at)}
            return {**kept, event.session: _opened_by(event)}
        case f.SessionRenewed():
            return {name: _moved(login, event) if name == event.session else login for name, login in sessions.items()}
        case f.UserLoggedOut():
            return {name: login for name, login in sessions.items() if name != event.session}


def _opened_by(event: f.UserLoggedIn) -> Login:
    return Login(
        device=event.device,
        place=event.place,
        created_at=event.at,
        used_at=event.at,
        expires_at=event.expires_at,
        ends_at=event.ends_at or event.expires_at,
        role=event.role,
    )


def _moved(login: Login, event: f.SessionRenewed) -> Login:
    return replace(
        login,
        place=event.place or login.place,
        used_at=event.at,
        expires_at=event.expires_at,
        generation=event.generation,
    )
