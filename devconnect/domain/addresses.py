"""E-mail addresses: proved by a link, changed by a link, and each of them one person's.

Who takes an address reserves it before the command is decided, and lets go of it once the decision is carried out. A
reservation carries the seq of the last command that counted on it, and what a command lets go of is only what was
reserved up to itself. So a replay, or an owner of the partition that comes late, takes nobody's address away.
"""

from collections.abc import Iterable, Mapping

from devconnect.domain.model import Decision, Ref, Reservation, Snapshot, User
from devconnect.domain.passwords import is_good, link_invalid
from devconnect.domain.sessions import account, user_unknown
from devconnect.domain.verdict import Consequences, Verdict, accept, refuse
from devconnect.events import commands as c, facts as f

#: Milliseconds for which a link that proves an address is good.
VERIFICATION_MS = 3 * 24 * 3_600_000


def request_verification(command: c.RequestEmailVerification, offset: int, state: Snapshot) -> Verdict:
    """Another link to the address that the account has, unless it is proved already."""
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    result = {"email": user.email, "email_verified": user.email_verified}
    if user.email_verified:
        return accept(result)
    happened = Consequences(command, offset)
    send_link(happened, command, user.id, user.email)
    return accept(result, *happened.events)


def change(command: c.ChangeEmail, offset: int, state: Snapshot) -> Verdict:
    """A link to another address; whether somebody has that address is said to nobody but who follows the link."""
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    result = {"email": command.email}
    if command.email == user.email:
        return accept(result)
    happened = Consequences(command, offset)
    send_link(happened, command, user.id, command.email)
    return accept(result, *happened.events)


def send_link(happened: Consequences, command: c.UserCommand, user: str, email: str) -> None:
    """A link that proves that `email` is the user's: its ticket is the command's id."""
    happened.add(
        f.EmailVerificationRequested,
        user=user,
        ticket=command.id,
        email=email,
        expires_at=command.at + VERIFICATION_MS,
    )


def confirm(command: c.ConfirmEmail, offset: int, state: Snapshot, holders: Mapping[str, str]) -> Verdict:
    """The address is theirs; another one than the account has takes its place, where nobody else holds it."""
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    sent = user.verification
    if sent is None or sent.email != command.email or not is_good(sent, command.ticket, command.at):
        return link_invalid()
    happened = Consequences(command, offset)
    if command.email == user.email:
        happened.add(f.EmailVerified, user=user.id, email=user.email)
    elif holders.get(command.email) == user.id:
        happened.add(f.EmailChanged, user=user.id, email=command.email, before=user.email)
    else:
        return email_taken()
    return accept({"email": command.email, "email_verified": True}, *happened.events)


def email_taken() -> Verdict:
    """Somebody else holds the address."""
    return refuse("email_taken", "This e-mail address has an account: log in, or take another one.")


def reservation(command: c.AnyCommand, seq: int) -> Reservation | None:
    """The address that a command at `seq` takes, if it is accepted."""
    match command:
        case c.SignUp():
            return Reservation(command.email, command.user, seq)
        case c.ConfirmEmail():
            return Reservation(command.email, command.actor, seq)
        case _:
            return None


def merged(reservations: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """One an address: the first who wants it, since the last command of theirs that counts on it."""
    found: dict[str, Reservation] = {}
    for wanted in reservations:
        first = found.setdefault(wanted.email, wanted)
        if first.user == wanted.user and first.seq < wanted.seq:
            found[wanted.email] = wanted
    return tuple(found.values())


def releases(command: c.AnyCommand, decision: Decision) -> Iterable[Reservation]:
    """What a decided command lets go of, if its user hasn't got it (again): see `kept`."""
    wanted = reservation(command, decision.seq)
    if wanted is not None and decision.problem is not None:
        yield wanted
    for event in decision.events:
        match event:
            case f.EmailChanged():
                yield Reservation(event.before, event.user, event.seq)
            case f.UserDeleted():
                yield Reservation(event.email, event.user, event.seq)


def kept(released: Reservation, state: Snapshot) -> bool:
    """Whether the address is the one that its user has."""
    user = state.get(Ref("user", released.user))
    return isinstance(user, User) and user.email == released.email
