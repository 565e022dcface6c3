"""People to meet."""

from aiohttp import web

from devconnect.ports.reads import UserView
from web.auth import Caller, private
from web.gateway import GATEWAY
from web.requests import paged, read_page
from web.views import card, read_response


async def read_feed(request: web.Request, caller: Caller) -> web.Response:
    """Cards of people with whom the reader has nothing yet."""
    asked = read_page(request)
    reading = request.app[GATEWAY].reads.reading()
    page = await paged(asked, reading.feed(caller.user.id, asked.cursor, asked.limit))
    people = [user for user in await reading.users(page.items) if user is not None]
    items = [{**card(user), "shared_skills": shared(caller.user, user)} for user in people]
    return read_response({"items": items, "next": page.next}, reading.source)


def shared(reader: UserView, other: UserView) -> list[str]:
    """The skills that both have, in the other's order."""
    return [skill for skill in other.profile.skills if skill in reader.profile.skills]


def routes() -> list[web.RouteDef]:
    """/v1/feed"""
    return [web.get("/v1/feed", private(read_feed))]
