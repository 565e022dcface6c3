"""Every command, in the imperative. The gateway makes them, command agents decide them."""

from typing import Literal

from msgspec import UNSET, UnsetType

from devconnect.events.base import Channel, Command, PushEnd, ReportReason, Role, Tier, WebhookTrouble, pair_id
from devconnect.events.facts import NotificationPreferences, Privacy


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
    """Open a session; the gateway has checked the password. Times in milliseconds since 1970.

    It ends at `expires_at` unless it is renewed, and at `ends_at` whatever comes.
    """

    session: str
    expires_at: int
    device: str = ""
    place: str = ""
    ends_at: int = 0


class RenewSession(Command, frozen=True, tag="user.renew_session"):
    """Let a session of the actor go on until `expires_at`, on the strength of the renewal token of `generation`.

    `successor` is the id that the session gets when the actor's rights have risen since it was opened.
    """

    session: str
    generation: int
    expires_at: int
    successor: str
    place: str = ""


class LogOut(Command, frozen=True, tag="user.log_out"):
    """End one of the actor's sessions."""

    session: str


class LogOutEverywhere(Command, frozen=True, tag="user.log_out_everywhere"):
    """End all of the actor's sessions, but for `keep` when it is given."""

    keep: str = ""


class ChangePassword(Command, frozen=True, tag="user.change_password"):
    """Set another password; the gateway has checked the old one.

    All sessions end, and `successor` is opened in place of `session`, with its device.
    """

    password_hash: str
    session: str
    successor: str
    expires_at: int
    ends_at: int
    place: str = ""


class RequestPasswordReset(Command, frozen=True, tag="user.request_password_reset"):
    """Send a link that sets a new password to `email`; `user` is whose address it is, "" for nobody's.

    For nobody's address nothing happens, in the same way.
    """

    email: str
    user: str

    @property
    def key(self) -> str:
        return self.user or self.email


class ResetPassword(Command, frozen=True, tag="user.reset_password"):
    """Set another password on the strength of a link's `ticket`; all sessions end."""

    ticket: str
    password_hash: str


class RequestEmailVerification(Command, frozen=True, tag="user.request_email_verification"):
    """Send another link that proves that the address is the actor's."""


class ChangeEmail(Command, frozen=True, tag="user.change_email"):
    """Send a link to `email`, which becomes the actor's address once it is followed."""

    email: str


class ConfirmEmail(Command, frozen=True, tag="user.confirm_email"):
    """The link of this `ticket`, sent to `email`, was followed: it is the actor's address."""

    ticket: str
    email: str


class ChangePrivacy(Command, frozen=True, tag="user.change_privacy"):
    """Say who sees what, whole."""

    privacy: Privacy


class ChangeNotificationPreferences(Command, frozen=True, tag="user.change_notification_preferences"):
    """Say how one wants to be told of things, whole."""

    preferences: NotificationPreferences


class SwitchNotifications(Command, frozen=True, tag="user.switch_notifications"):
    """Be told of one kind of thing by one channel, or no more; the rest of the preferences stays."""

    kind: str
    channel: Channel
    on: bool


class DeleteAccount(Command, frozen=True, tag="user.delete_account"):
    """Close the actor's account; the gateway has checked the password."""


class ChangeProfile(Command, frozen=True, tag="user.change_profile"):
    """Change the fields that are given, leave the others.

    Only where the user's seq is `expected`, when that is given.
    """

    name: str | UnsetType = UNSET
    headline: str | UnsetType = UNSET
    about: str | UnsetType = UNSET
    photo_url: str | UnsetType = UNSET
    skills: tuple[str, ...] | UnsetType = UNSET
    expected: int | UnsetType = UNSET


class ChangeTier(Command, frozen=True, tag="user.change_tier"):
    """Give a user another membership tier; the machine's operator may, and people whose `authority` is operator."""

    user: str
    tier: Tier
    authority: Role = "member"
    reason: str = ""

    @property
    def key(self) -> str:
        return self.user


class ChangeRole(Command, frozen=True, tag="user.change_role"):
    """Give a user another role; the machine's operator may, and people whose `authority` is operator."""

    user: str
    role: Role
    authority: Role = "member"
    reason: str = ""

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


class ChannelCommand(Command, frozen=True):
    """Something about where the actor is told of things."""


class SubscribePush(ChannelCommand, frozen=True, tag="user.subscribe_push"):
    """Send push messages to a browser of the actor's, as long as `session` is open. Its id is the command's id."""

    endpoint: str
    p256dh: str
    auth: str
    session: str


class UnsubscribePush(ChannelCommand, frozen=True, tag="user.unsubscribe_push"):
    """Send no more of them to this one."""

    subscription: str
    reason: PushEnd = "asked"


class AddWebhook(ChannelCommand, frozen=True, tag="user.add_webhook"):
    """Call a server of the actor's. Its id is the command's id."""

    url: str


class RemoveWebhook(ChannelCommand, frozen=True, tag="user.remove_webhook"):
    """Call this one no more."""

    webhook: str


class DisableWebhook(ChannelCommand, frozen=True, tag="user.disable_webhook"):
    """Switch one off that takes nothing."""

    webhook: str
    reason: WebhookTrouble


class SeeNotifications(Command, frozen=True, tag="user.see_notifications"):
    """All own notifications up to `up_to`, one's id, were before the actor's eyes."""

    up_to: str


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


class WithdrawRequest(Command, frozen=True, tag="connection.withdraw"):
    """Take back the request to `to`."""

    to: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.to)


class BlockUser(Command, frozen=True, tag="connection.block"):
    """Want nothing of `other`; whatever is between the two ends."""

    other: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.other)


class UnblockUser(Command, frozen=True, tag="connection.unblock"):
    """Take back a block."""

    other: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.other)


class ReportUser(Command, frozen=True, tag="connection.report"):
    """Tell the operators of `other`. The report's id is the command's id."""

    other: str
    reason: ReportReason
    note: str = ""

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.other)


class CloseReport(Command, frozen=True, tag="connection.close_report"):
    """An operator is done with `report`, by which `reporter` told of `reported`."""

    report: str
    reporter: str
    reported: str
    outcome: str
    authority: Role = "member"

    @property
    def key(self) -> str:
        return pair_id(self.reporter, self.reported)


class SendMessage(Command, frozen=True, tag="message.send"):
    """Say something to a connected person. The message's id is the command's id."""

    to: str
    text: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.to)


class EditMessage(Command, frozen=True, tag="message.edit"):
    """Let the actor's own message at `message` (its seq), said to `peer`, say `text` instead."""

    peer: str
    message: int
    text: str

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.peer)


class DeleteMessage(Command, frozen=True, tag="message.delete"):
    """Take the actor's own message at `message` (its seq) back, for both."""

    peer: str
    message: int

    @property
    def key(self) -> str:
        return pair_id(self.actor, self.peer)


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
    SignUp
    | LogIn
    | RenewSession
    | LogOut
    | LogOutEverywhere
    | ChangePassword
    | RequestPasswordReset
    | ResetPassword
    | RequestEmailVerification
    | ChangeEmail
    | ConfirmEmail
    | ChangeProfile
    | ChangePrivacy
    | ChangeNotificationPreferences
    | SwitchNotifications
    | ChangeTier
    | ChangeRole
    | GoOnline
    | GoOffline
    | ReadNotifications
    | SubscribePush
    | UnsubscribePush
    | AddWebhook
    | RemoveWebhook
    | DisableWebhook
    | SeeNotifications
    | DeleteAccount
)
#: Those about where somebody is told of things.
AnyChannelCommand = SubscribePush | UnsubscribePush | AddWebhook | RemoveWebhook | DisableWebhook
ConnectionCommand = (
    RequestConnection
    | ReviewConnection
    | RemoveConnection
    | WithdrawRequest
    | BlockUser
    | UnblockUser
    | ReportUser
    | CloseReport
)
MessageCommand = SendMessage | EditMessage | DeleteMessage | MarkDelivered | MarkRead
AnyCommand = UserCommand | ConnectionCommand | MessageCommand
