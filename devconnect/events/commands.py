"""Every command, in the imperative. The gateway makes them, command agents decide them."""

from typing import Literal

from msgspec import UNSET, UnsetType

from devconnect.events.base import Command, Role, Tier, pair_id


class SignUp(Command, frozen=True, tag="user.sign_up"):
    """Open an account. `user` is the id to give it, drawn so that it falls in the partition of `email`."""

    user: str
    email: str
    password_hash: str
    name: str
    headline: str = ""
    about: str = ""
    photo_url: str = ""
    skills: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.email


class LogIn(Command, frozen=True, tag="user.log_in"):
    """Open a session; the gateway has checked the password. Times in milliseconds since 1970."""

    session: str
    expires_at: int
    device: str = ""


class LogOut(Command, frozen=True, tag="user.log_out"):
    """End one of the actor's sessions."""

    session: str


class ChangeProfile(Command, frozen=True, tag="user.change_profile"):
    """Change the fields that are given, leave the others."""

    name: str | UnsetType = UNSET
    headline: str | UnsetType = UNSET
    about: str | UnsetType = UNSET
    photo_url: str | UnsetType = UNSET
    skills: tuple[str, ...] | UnsetType = UNSET


class ChangeTier(Command, frozen=True, tag="user.change_tier"):
    """Give a user another membership tier; the machine's operator may."""

    user: str
    tier: Tier

    @property
    def key(self) -> str:
        return self.user


class ChangeRole(Command, frozen=True, tag="user.change_role"):
    """Give a user another role; the machine's operator may."""

    user: str
    role: Role

    @property
    def key(self) -> str:
        return self.user


class GoOnline(Command, frozen=True, tag="user.go_online"):
    """The actor's device (one a session) is here, until `until` unless it says so again."""

    session: str
    until: int


class GoOffline(Command, frozen=True, tag="user.go_offline"):
    """The actor's device is gone."""

    session: str


class ReadNotifications(Command, frozen=True, tag="user.read_notifications"):
    """Mark own notifications as read; ids that are not the actor's own mean nothing."""

    notifications: tuple[str, ...]


class RequestConnection(Command, frozen=True, tag="connection.request"):
    """Show interest in somebody, or pass them by."""

    to: str
    interest: Literal["interested", "ignored"]

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.to)


class ReviewConnection(Command, frozen=True, tag="connection.review"):
    """Answer the request that `requester` made."""

    requester: str
    verdict: Literal["accepted", "rejected"]

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.requester)


class RemoveConnection(Command, frozen=True, tag="connection.remove"):
    """End the connection with `other`."""

    other: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.other)


class SendMessage(Command, frozen=True, tag="message.send"):
    """Say something to a connected person. The message's id is the command's id."""

    to: str
    text: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.to)


class MarkDelivered(Command, frozen=True, tag="message.mark_delivered"):
    """The actor's device holds every message of the conversation up to the one at `up_to`."""

    peer: str
    up_to: int

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.peer)


class MarkRead(Command, frozen=True, tag="message.mark_read"):
    """The actor has read every message of the conversation up to the one at `up_to`."""

    peer: str
    up_to: int

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.peer)


UserCommand = (
    SignUp | LogIn | LogOut | ChangeProfile | ChangeTier | ChangeRole | GoOnline | GoOffline | ReadNotifications
)
ConnectionCommand = RequestConnection | ReviewConnection | RemoveConnection
MessageCommand = SendMessage | MarkDelivered | MarkRead
AnyCommand = UserCommand | ConnectionCommand | MessageCommand
