"""The reader's notifications."""

import re

from devconnect.domain import preferences
from devconnect.events import commands as c
from devconnect.events.facts import NotificationPreferences
from web import answers, bodies
from web.answers import Account, DeliveryList, Notifications, NotificationsRead, NotificationsSeen
from web.calls import AnyCall, Call
from web.operations import Operation, Reply, command, read
from web.patterns import NOTIFICATION_ID
from web.problems import ProblemError, bad_field
from web.queries import NoQuery, PageQuery
from web.requests import paged


async def read_notifications(call: Call[None, PageQuery]) -> Reply:
    """Notifications, newest first, and how many are not read, and not even seen."""
    asked, me = call.query, call.me.user.id
    reading = call.gateway.reads.reading()
    page = await paged(asked, reading.notifications(me, asked.cursor, asked.limit))
    unread = await reading.unread_notifications(me)
    items = tuple(map(answers.notification, page.items))
    unseen = await reading.unseen_notifications(me)
    return Reply(data=Notifications(items=items, next=page.next, unread=unread, unseen=unseen), source=reading.source)


def mark_notifications_read(call: Call[bodies.ReadNotifications, NoQuery]) -> c.ReadNotifications:
    """Mark some as read."""
    return c.ReadNotifications(**call.common(), notifications=tuple(dict.fromkeys(call.body.notifications)))


def mark_notifications_seen(call: Call[bodies.SeeNotifications, NoQuery]) -> c.SeeNotifications:
    """Everything up to one was before the reader's eyes."""
    up_to = call.body.up_to
    if int(up_to[:13]) > call.order.at + AHEAD_MS:
        raise bad_field("up_to", "is the id of a notification that there is already")
    return c.SeeNotifications(**call.common(), up_to=up_to)


def change_notification_preferences(call: Call[NotificationPreferences, NoQuery]) -> c.ChangeNotificationPreferences:
    """Say how one wants to be told of things."""
    trouble = preferences.trouble(call.body)
    if trouble is not None:
        raise bad_field(*trouble)
    return c.ChangeNotificationPreferences(**call.common(), preferences=call.body)


async def read_notification_deliveries(call: AnyCall) -> Reply:
    """By which channels one was told of something, or not, and why."""
    notification = call.params["notification"]
    found = None
    if re.fullmatch(NOTIFICATION_ID, notification):
        found = await call.gateway.parts.library.deliveries(call.me.user.id, notification)
    if not found:
        raise ProblemError("notification_unknown", "You have no such notification, or nothing is decided of it yet.")
    items = tuple(map(answers.delivery, found))
    return Reply(data=DeliveryList(notification=notification, items=items), source="database")


#: How far the clock of whoever has accepted an event may be ahead of ours.
AHEAD_MS = 60_000

OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/me/notifications",
        read_notifications,
        "The own notifications",
        query=PageQuery,
        answer=Notifications,
        tag="notifications",
    ),
    command(
        "POST",
        "/v1/me/notifications/read",
        mark_notifications_read,
        "Mark notifications as read",
        body=bodies.ReadNotifications,
        answer=NotificationsRead,
        tag="notifications",
    ),
    command(
        "POST",
        "/v1/me/notifications/seen",
        mark_notifications_seen,
        "Mark all up to one as seen",
        body=bodies.SeeNotifications,
        answer=NotificationsSeen,
        tag="notifications",
        description="Seen is what was before one's eyes; what was read is another thing.",
    ),
    read(
        "/v1/me/notifications/{notification}/deliveries",
        read_notification_deliveries,
        "By which channels one was told of something, and why",
        answer=DeliveryList,
        problems=("notification_unknown",),
        tag="notifications",
    ),
    command(
        "PUT",
        "/v1/me/notification-preferences",
        change_notification_preferences,
        "Say how one wants to be told of things",
        body=NotificationPreferences,
        answer=Account,
        problems=("user_unknown", "preferences_invalid"),
        tag="notifications",
        description="Whole: what is left out is as it is at first. What is about the account's safety always comes.",
    ),
)
