"""People to meet."""

from web import answers
from web.answers import FeedCard
from web.calls import Call
from web.operations import Operation, Page, Reply, read
from web.queries import PageQuery
from web.requests import paged


async def read_feed(call: Call[None, PageQuery]) -> Reply:
    """Cards of people with whom the reader has nothing yet."""
    asked, me = call.query, call.me.user
    reading = call.gateway.reads.reading()
    size = min(asked.limit, call.gateway.limits.feed(me.tier))
    page = await paged(asked, reading.feed(me.id, me.profile.skills, asked.cursor, size))
    people = await reading.users(page.items)
    items = tuple(answers.feed_card(user, me) for user in people if user is not None and not user.deleted)
    return Reply(data=Page(items=items, next=page.next), source=reading.source)


OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/feed",
        read_feed,
        "People to meet",
        query=PageQuery,
        answer=Page[FeedCard],
        tag="people",
        problems=("cursor_expired",),
        description="Those with the most skills in common come first, then those who were here last. Nobody with whom "
        "there is or was anything. A page has at most as many as the membership tier allows.",
    ),
)
