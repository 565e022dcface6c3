"""The reader's notifications."""

from devconnect.events import commands as c
from web import answers, bodies
from web.answers import Notifications, NotificationsRead
from web.calls import Call
from web.operations import Operation, Reply, command, read
from web.queries import NoQuery, PageQuery
from web.requests import paged


async def read_notifications(call: Call[None, PageQuery]) -> Reply:
    """Notifications, newest first, and how many are not read."""
    asked, me = call.query, call.me.user.id
    reading = call.gateway.reads.reading()
    page = await paged(asked, reading.notifications(me, asked.cursor, asked.limit))
    unread = await reading.unread_notifications(me)
    items = tuple(map(answers.notification, page.items))
    return Reply(data=Notifications(items=items, next=page.next, unread=unread), source=reading.source)


def mark_notifications_read(call: Call[bodies.ReadNotifications, NoQuery]) -> c.ReadNotifications:
    """Mark some as read."""
    return c.ReadNotifications(**call.common(), notifications=tuple(dict.fromkeys(call.body.notifications)))


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
)
