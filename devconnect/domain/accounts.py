"""Accounts, sessions and presence: what a user command leads to."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from devconnect.domain.model import AnyDocument, Ref, Session, Snapshot, User
from devconnect.domain.verdict import Verdict, accept, refuse, stamp
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SYSTEM


def account_view(user: User) -> dict[str, Any]:
    """The account as its owner sees it."""
    return {
        "id": user.id,
        "email": user.email,
        **msgspec.to_builtins(user.profile),
        "tier": user.tier,
        "role": user.role,
        "created_at": user.created_at,
    }


def decide(command: c.UserCommand, offset: int, state: Snapshot, holders: Mapping[str, str]) -> Verdict:
    """The verdict on a user command. `holders` maps the e-mail addresses that are taken to the ids of their users."""
    match command:
        case c.SignUp():
            return _sign_up(command, offset, holders)
        case c.LogIn():
            return _log_in(command, offset, state)
        case c.LogOut():
            return _log_out(command, offset, state)
        case c.ChangeProfile():
            return _change_profile(command, offset, state)
        case c.ChangeTier():
            return _change_tier(command, offset, state)
        case c.ChangeRole():
            return _change_role(command, offset, state)
        case c.GoOnline():
            return _go_online(command, offset)
        case c.GoOffline():
            return _go_offline(command, offset)
        case c.ReadNotifications():
            return _read_notifications(command, offset)


def _sign_up(command: c.SignUp, offset: int, holders: Mapping[str, str]) -> Verdict:
    if holders.get(command.email) != command.user:
        return refuse("email_taken", "This e-mail address has an account: log in, or sign up with another one.")
    profile = f.Profile(
        name=command.name,
        headline=command.headline,
        about=command.about,
        photo_url=command.photo_url,
        skills=command.skills,
    )
    mark = stamp(command, offset)
    event = f.UserSignedUp(
        id=mark.id,
        seq=mark.seq,
        at=mark.at,
        user=command.user,
        email=command.email,
        profile=profile,
        tier="free",
        role="member",
    )
    return accept(account_view(_signed_up(event)), event)


def _log_in(command: c.LogIn, offset: int, state: Snapshot) -> Verdict:
    if Ref("user", command.actor) not in state:
        return refuse("user_unknown", "There is no such user: sign up first.")
    mark = stamp(command, offset)
    event = f.UserLoggedIn(
        id=mark.id,
        seq=mark.seq,
        at=mark.at,
        user=command.actor,
        session=command.session,
        expires_at=command.expires_at,
        device=command.device,
    )
    return accept({"session": command.session, "user": command.actor, "expires_at": command.expires_at}, event)


def _log_out(command: c.LogOut, offset: int, state: Snapshot) -> Verdict:
    session = state.get(Ref("session", command.session))
    if not isinstance(session, Session) or session.user != command.actor:
        return refuse("session_unknown", "This is no session of yours.")
    result = {"session": session.id}
    if session.ended_at is not None:
        return accept(result)
    mark = stamp(command, offset)
    return accept(
        result,
        f.UserLoggedOut(id=mark.id, seq=mark.seq, at=mark.at, user=command.actor, session=session.id),
    )


def _change_profile(command: c.ChangeProfile, offset: int, state: Snapshot) -> Verdict:
    user = state.get(Ref("user", command.actor))
    if not isinstance(user, User):
        return refuse("user_unknown", "There is no such user: sign up first.")
    given = {name: getattr(command, name) for name in f.Profile.__struct_fields__}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    profile = msgspec.structs.replace(user.profile, **changes)
    if profile == user.profile:
        return accept(account_view(user))
    mark = stamp(command, offset)
    event = f.ProfileChanged(id=mark.id, seq=mark.seq, at=mark.at, user=user.id, profile=profile)
    return accept(account_view(msgspec.structs.replace(user, profile=profile)), event)


def _change_tier(command: c.ChangeTier, offset: int, state: Snapshot) -> Verdict:
    user = _subject(command.actor, command.user, state)
    if isinstance(user, Verdict):
        return user
    view = account_view(msgspec.structs.replace(user, tier=command.tier))
    if user.tier == command.tier:
        return accept(view)
    mark = stamp(command, offset)
    return accept(view, f.TierChanged(id=mark.id, seq=mark.seq, at=mark.at, user=user.id, tier=command.tier))


def _change_role(command: c.ChangeRole, offset: int, state: Snapshot) -> Verdict:
    user = _subject(command.actor, command.user, state)
    if isinstance(user, Verdict):
        return user
    view = account_view(msgspec.structs.replace(user, role=command.role))
    if user.role == command.role:
        return accept(view)
    mark = stamp(command, offset)
    return accept(view, f.RoleChanged(id=mark.id, seq=mark.seq, at=mark.at, user=user.id, role=command.role))


def _subject(actor: str, user_id: str, state: Snapshot) -> User | Verdict:
    """The user whose rights are to change, or why they can't be."""
    if actor != SYSTEM:
        return refuse("not_allowed", "Tiers and roles are given on the machine: `python -m devconnect users`.")
    user = state.get(Ref("user", user_id))
    return user if isinstance(user, User) else refuse("user_unknown", "There is no such user.")


def _go_online(command: c.GoOnline, offset: int) -> Verdict:
    mark = stamp(command, offset)
    event = f.UserCameOnline(
        id=mark.id, seq=mark.seq, at=mark.at, user=command.actor, session=command.session, until=command.until
    )
    return accept({"online": True, "until": command.until}, event)


def _go_offline(command: c.GoOffline, offset: int) -> Verdict:
    mark = stamp(command, offset)
    event = f.UserWentOffline(id=mark.id, seq=mark.seq, at=mark.at, user=command.actor, session=command.session)
    return accept({"online": False}, event)


def _read_notifications(command: c.ReadNotifications, offset: int) -> Verdict:
    mark = stamp(command, offset)
    event = f.NotificationsRead(
        id=mark.id, seq=mark.seq, at=mark.at, user=command.actor, notifications=command.notifications
    )
    return accept({"read": list(command.notifications)}, event)


def wanted(command: c.UserCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    match command:
        case c.LogIn() | c.ChangeProfile():
            return (Ref("user", command.actor),)
        case c.LogOut():
            return (Ref("session", command.session),)
        case c.ChangeTier() | c.ChangeRole():
            return (Ref("user", command.user),)
        case _:
            return ()


def evolve(state: Snapshot, event: f.AnyUserEvent) -> tuple[AnyDocument, ...]:
    """The documents as they are after the event; only those that it changes."""
    match event:
        case f.UserSignedUp():
            return (_signed_up(event),)
        case f.UserLoggedIn():
            return (
                Session(
                    id=event.session,
                    seq=event.seq,
                    user=event.user,
                    device=event.device,
                    created_at=event.at,
                    expires_at=event.expires_at,
                ),
            )
        case f.UserLoggedOut():
            return _changed(state.get(Ref("session", event.session)), seq=event.seq, ended_at=event.at)
        case f.ProfileChanged():
            return _changed(_user(state, event), seq=event.seq, profile=event.profile, updated_at=event.at)
        case f.TierChanged():
            return _changed(_user(state, event), seq=event.seq, tier=event.tier, updated_at=event.at)
        case f.RoleChanged():
            return _changed(_user(state, event), seq=event.seq, role=event.role, updated_at=event.at)
        case _:
            return ()


def _user(state: Snapshot, event: f.UserEvent) -> AnyDocument | None:
    return state.get(Ref("user", event.user))


def _changed(document: AnyDocument | None, *, seq: int, **fields: Any) -> tuple[AnyDocument, ...]:
    """The document with these fields, unless it isn't there or is ahead of the event already."""
    if document is None or document.seq >= seq:
        return ()
    return (msgspec.structs.replace(document, seq=seq, **fields),)


def _signed_up(event: f.UserSignedUp) -> User:
    return User(
        id=event.user,
        seq=event.seq,
        email=event.email,
        profile=event.profile,
        tier=event.tier,
        role=event.role,
        created_at=event.at,
        updated_at=event.at,
    )
