"""Passwords: changed by who knows the old one, or by who follows a link. Their hashes are in no event and no result."""

from collections.abc import Iterable

from devconnect.domain.model import Decision, Secret, Snapshot, Ticket
from devconnect.domain.sessions import account, end_all, logins_of, opened, session_unknown, user_unknown
from devconnect.domain.verdict import Consequences, Verdict, accept, refuse
from devconnect.events import commands as c, facts as f

#: Milliseconds for which a link that sets a new password is good.
RESET_MS = 3_600_000


def change(command: c.ChangePassword, offset: int, state: Snapshot) -> Verdict:
    """Another password; every session ends, and the one that asks is followed by a new one."""
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    login = logins_of(state, user.id).get(command.session)
    if login is None:
        return session_unknown()
    happened = Consequences(command, offset)
    happened.add(f.PasswordChanged, user=user.id)
    end_all(happened, state, user.id, "password")
    event = happened.add(
        f.UserLoggedIn,
        user=user.id,
        session=command.successor,
        expires_at=min(command.expires_at, command.ends_at),
        ends_at=command.ends_at,
        device=login.device,
        place=command.place or login.place,
        role=user.role,
    )
    return accept(opened(event), *happened.events)


def request_reset(command: c.RequestPasswordReset, offset: int, state: Snapshot) -> Verdict:
    """A link, where there is an account; the answer is the same where there is none."""
    result = {"email": command.email}
    user = account(state, command.user) if command.user else None
    if user is None or user.email != command.email:
        return accept(result)
    happened = Consequences(command, offset)
    happened.add(
        f.PasswordResetRequested,
        user=user.id,
        ticket=command.id,
        email=user.email,
        expires_at=command.at + RESET_MS,
    )
    return accept(result, *happened.events)


def reset(command: c.ResetPassword, offset: int, state: Snapshot) -> Verdict:
    """Another password by a link, which proves the address besides."""
    user = account(state, command.actor)
    if user is None or not is_good(user.reset, command.ticket, command.at):
        return link_invalid()
    happened = Consequences(command, offset)
    happened.add(f.PasswordChanged, user=user.id, reset=True)
    if not user.email_verified and user.reset is not None and user.reset.email == user.email:
        happened.add(f.EmailVerified, user=user.id, email=user.email)
    end_all(happened, state, user.id, "reset")
    return accept({"user": user.id}, *happened.events)


def is_good(sent: Ticket | None, ticket: str, now: int) -> bool:
    """Whether a link is the one that was sent last, not used since, and in time."""
    return sent is not None and sent.id == ticket and now < sent.expires_at


def link_invalid() -> Verdict:
    """A link that is good once, and no longer."""
    return refuse("link_invalid", "This link was used, replaced by a newer one, or is too old: ask for another one.")


def secrets(command: c.AnyCommand, decision: Decision) -> Iterable[Secret]:
    """The password that a decided command sets, and the end of one whose user is deleted."""
    if decision.problem is None:
        match command:
            case c.SignUp():
                yield Secret(command.user, decision.seq, command.password_hash)
            case c.ChangePassword() | c.ResetPassword():
                yield Secret(command.actor, decision.seq, command.password_hash)
    for event in decision.events:
        if isinstance(event, f.UserDeleted):
            yield Secret(event.user, event.seq, "")
