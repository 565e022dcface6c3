"""Accounts: what a user command leads to. Sessions, passwords, addresses and rights have rooms of their own."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from devconnect.domain import addresses, channels, passwords, preferences, rights, sessions
from devconnect.domain.model import AnyDocument, Ref, Snapshot, Ticket, User
from devconnect.domain.sessions import account, user_unknown
from devconnect.domain.verdict import Consequences, Verdict, accept, refuse
from devconnect.events import commands as c, facts as f

#: What a deleted account is called.
DELETED = "Deleted account"


def account_view(user: User) -> dict[str, Any]:
    """The account as its owner sees it."""
    return {
        "id": user.id,
        "email": user.email,
        "email_verified": user.email_verified,
        **msgspec.to_builtins(user.profile),
        "privacy": msgspec.to_builtins(user.privacy),
        "notification_preferences": msgspec.to_builtins(user.notification_preferences),
        "tier": user.tier,
        "role": user.role,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "seq": user.seq,
    }


def decide(  # noqa: C901, PLR0912  # one row a command
    command: c.UserCommand, offset: int, state: Snapshot, holders: Mapping[str, str]
) -> Verdict:
    """The verdict on a user command. `holders` maps the e-mail addresses that are taken to the ids of their users."""
    match command:
        case c.SignUp():
            return _sign_up(command, offset, holders)
        case c.LogIn():
            return sessions.log_in(command, offset, state)
        case c.RenewSession():
            return sessions.renew(command, offset, state)
        case c.LogOut():
            return sessions.log_out(command, offset, state)
        case c.LogOutEverywhere():
            return sessions.log_out_everywhere(command, offset, state)
        case c.ChangePassword():
            return passwords.change(command, offset, state)
        case c.RequestPasswordReset():
            return passwords.request_reset(command, offset, state)
        case c.ResetPassword():
            return passwords.reset(command, offset, state)
        case c.RequestEmailVerification():
            return addresses.request_verification(command, offset, state)
        case c.ChangeEmail():
            return addresses.change(command, offset, state)
        case c.ConfirmEmail():
            return addresses.confirm(command, offset, state, holders)
        case c.ChangeProfile():
            return _change_profile(command, offset, state)
        case c.ChangePrivacy():
            return _change_privacy(command, offset, state)
        case c.ChangeNotificationPreferences() | c.SwitchNotifications():
            return _change_notification_preferences(command, offset, state)
        case c.ChangeTier() | c.ChangeRole():
            return _change_rights(command, offset, state)
        case c.DeleteAccount():
            return _delete(command, offset, state)
        case c.GoOnline() | c.GoOffline() | c.ReadNotifications() | c.SeeNotifications():
            return _note(command, offset, state)
        case c.ChannelCommand():
            return channels.decide(command, offset, state)


def _sign_up(command: c.SignUp, offset: int, holders: Mapping[str, str]) -> Verdict:
    if holders.get(command.email) != command.user:
        return addresses.email_taken()
    happened = Consequences(command, offset)
    happened.add(
        f.UserSignedUp,
        user=command.user,
        email=command.email,
        profile=f.Profile(**{name: getattr(command, name) for name in f.Profile.__struct_fields__}),
        tier="free",
        role="member",
    )
    addresses.send_link(happened, command, command.user, command.email)
    return _with_view({}, Ref("user", command.user), happened)


def _change_profile(command: c.ChangeProfile, offset: int, state: Snapshot) -> Verdict:
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    if command.expected is not UNSET and command.expected != user.seq:
        return refuse("precondition_failed", "It was changed meanwhile: read it again, then change it.")
    given = {name: getattr(command, name) for name in f.Profile.__struct_fields__}
    profile = msgspec.structs.replace(
        user.profile, **{name: value for name, value in given.items() if value is not UNSET}
    )
    happened = Consequences(command, offset)
    if profile != user.profile:
        happened.add(f.ProfileChanged, user=user.id, profile=profile)
    return _with_view(state, Ref("user", user.id), happened)


def _change_privacy(command: c.ChangePrivacy, offset: int, state: Snapshot) -> Verdict:
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    happened = Consequences(command, offset)
    if command.privacy != user.privacy:
        happened.add(f.PrivacyChanged, user=user.id, privacy=command.privacy)
    return _with_view(state, Ref("user", user.id), happened)


def _change_notification_preferences(
    command: c.ChangeNotificationPreferences | c.SwitchNotifications, offset: int, state: Snapshot
) -> Verdict:
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    before = user.notification_preferences
    if isinstance(command, c.SwitchNotifications):
        wanted = preferences.switched(before, command.kind, command.channel, on=command.on)
    else:
        wanted = command.preferences
    trouble = preferences.trouble(wanted)
    if trouble is not None:
        return refuse("preferences_invalid", f"{trouble[0]} {trouble[1]}.")
    happened = Consequences(command, offset)
    if wanted != before:
        happened.add(f.NotificationPreferencesChanged, user=user.id, preferences=wanted)
    return _with_view(state, Ref("user", user.id), happened)


def _change_rights(command: c.ChangeTier | c.ChangeRole, offset: int, state: Snapshot) -> Verdict:
    user = rights.subject(command, state)
    if isinstance(user, Verdict):
        return user
    happened = Consequences(command, offset)
    said: dict[str, Any] = {"user": user.id, "by": command.actor, "reason": command.reason}
    if isinstance(command, c.ChangeTier) and command.tier != user.tier:
        happened.add(f.TierChanged, **said, tier=command.tier, before=user.tier)
    if isinstance(command, c.ChangeRole) and command.role != user.role:
        happened.add(f.RoleChanged, **said, role=command.role, before=user.role)
    return _with_view(state, Ref("user", user.id), happened)


def _delete(command: c.DeleteAccount, offset: int, state: Snapshot) -> Verdict:
    user = account(state, command.actor)
    if user is None:
        return user_unknown()
    happened = Consequences(command, offset)
    sessions.end_all(happened, state, user.id, "deleted")
    happened.add(f.UserDeleted, user=user.id, email=user.email)
    return accept({"user": user.id, "deleted": True}, *happened.events)


def _note(
    command: c.GoOnline | c.GoOffline | c.ReadNotifications | c.SeeNotifications, offset: int, state: Snapshot
) -> Verdict:
    """What changes no document: presence, and what somebody has read."""
    if account(state, command.actor) is None:
        return user_unknown()
    happened = Consequences(command, offset)
    match command:
        case c.GoOnline():
            happened.add(f.UserCameOnline, user=command.actor, session=command.session, until=command.until)
            return accept({"online": True, "until": command.until}, *happened.events)
        case c.GoOffline():
            happened.add(f.UserWentOffline, user=command.actor, session=command.session)
            return accept({"online": False}, *happened.events)
        case c.ReadNotifications():
            happened.add(f.NotificationsRead, user=command.actor, notifications=command.notifications)
            return accept({"read": list(command.notifications)}, *happened.events)
        case c.SeeNotifications():
            happened.add(f.NotificationsSeen, user=command.actor, up_to=command.up_to)
            return accept({"seen_up_to": command.up_to}, *happened.events)


def _with_view(state: Snapshot, user: Ref, happened: Consequences) -> Verdict:
    """Yes, with the account as it is after the events."""
    after = account(state, user.id)
    for event in happened.events:
        after = _changed(after, event) or after
    if after is None:
        raise TypeError(f"{user.id} is no account")
    return accept(account_view(after), *happened.events)


def wanted(command: c.UserCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    match command:
        case c.SignUp():
            return ()
        case c.LogOut():
            return (Ref("logins", command.actor),)
        case c.ChangeTier() | c.ChangeRole():
            return (Ref("user", command.user),)
        case c.RequestPasswordReset():
            return (Ref("user", command.user),) if command.user else ()
        case c.LogIn() | c.RenewSession() | c.LogOutEverywhere() | c.ChangePassword() | c.ResetPassword():
            return (Ref("user", command.actor), Ref("logins", command.actor))
        case c.DeleteAccount():
            return (Ref("user", command.actor), Ref("logins", command.actor), Ref("channels", command.actor))
        case c.ChannelCommand():
            return (Ref("user", command.actor), Ref("channels", command.actor))
        case _:
            return (Ref("user", command.actor),)


def touched(event: f.AnyUserEvent) -> tuple[Ref, ...]:
    """The documents that the event changes."""
    match event:
        case f.UserLoggedIn() | f.SessionRenewed() | f.UserLoggedOut():
            return (Ref("logins", event.user),)
        case f.UserCameOnline() | f.UserWentOffline() | f.NotificationsRead() | f.NotificationsSeen():
            return ()
        case f.ChannelEvent():
            return (Ref("channels", event.user),)
        case f.UserDeleted():
            return (Ref("user", event.user), Ref("channels", event.user))
        case _:
            return (Ref("user", event.user),)


def evolve(state: Snapshot, event: f.AnyUserEvent) -> tuple[AnyDocument, ...]:
    """The documents as they are after the event; only those that it changes."""
    match event:
        case f.UserLoggedIn() | f.SessionRenewed() | f.UserLoggedOut():
            return sessions.evolve(state, event)
        case f.TierChanged() | f.RoleChanged():
            # Kept whatever the account says, since a crash may have come between the two.
            return (*_evolved(state, event), rights.audit(event))
        case f.ChannelEvent():
            return channels.evolve(state, event)
        case f.UserDeleted():
            return (*channels.evolve(state, event), *_evolved(state, event))
        case _:
            return _evolved(state, event)


def _evolved(state: Snapshot, event: f.AnyUserEvent) -> tuple[AnyDocument, ...]:
    """The account after the event, unless it isn't there or is ahead of the event already."""
    before = state.get(Ref("user", event.user))
    if before is not None and (before.seq >= event.seq or not isinstance(before, User)):
        return ()
    after = _changed(before, event)
    return () if after is None else (after,)


def _changed(user: User | None, event: f.AnyUserEvent) -> User | None:
    """The account after the event; None where it changes none."""
    if isinstance(event, f.UserSignedUp):
        return _signed_up(event)
    if user is None:
        return None
    fields = _changes(user, event)
    if fields is None:
        return None
    # What people see has changed then; links that were sent are no part of that.
    seen = {"updated_at": event.at} if fields.keys() - {"verification", "reset"} else {}
    return msgspec.structs.replace(user, seq=event.seq, **seen, **fields)


def _changes(user: User, event: f.AnyUserEvent) -> dict[str, Any] | None:  # noqa: C901  # one row an event
    """The fields that are others after the event; None for an event that is about something else."""
    match event:
        case f.ProfileChanged():
            return {"profile": event.profile}
        case f.PrivacyChanged():
            return {"privacy": event.privacy}
        case f.NotificationPreferencesChanged():
            return {"notification_preferences": event.preferences}
        case f.TierChanged():
            return {"tier": event.tier}
        case f.RoleChanged():
            return {"role": event.role}
        case f.PasswordChanged():
            return {"reset": None}
        case f.PasswordResetRequested():
            return {"reset": Ticket(id=event.ticket, email=event.email, expires_at=event.expires_at)}
        case f.EmailVerificationRequested():
            return {"verification": Ticket(id=event.ticket, email=event.email, expires_at=event.expires_at)}
        case f.EmailVerified():
            waiting = user.verification
            still = waiting if waiting is not None and waiting.email != event.email else None
            return {"email_verified": True, "verification": still}
        case f.EmailChanged():
            # A link that went to the old address opens the account no more.
            return {"email": event.email, "email_verified": True, "verification": None, "reset": None}
        case f.UserDeleted():
            return _nothing_left(event)
        case _:
            return None


def _nothing_left(event: f.UserDeleted) -> dict[str, Any]:
    """Nothing but the id, for those who have it from elsewhere."""
    bare = User(
        id=event.user,
        seq=event.seq,
        email="",
        profile=f.Profile(name=DELETED),
        tier="free",
        role="member",
        created_at=0,
        updated_at=event.at,
        deleted=True,
    )
    fields = msgspec.structs.asdict(bare)
    return {name: value for name, value in fields.items() if name not in ("id", "seq", "updated_at")}


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
