"""The queries of requests: every parameter with its type, its limits and its default; no others are taken."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from web.patterns import USER_IDS

LIMIT = 50
Limit = Annotated[int, Meta(ge=1, le=200, description="Items a page.")]
Cursor = Annotated[
    str, Meta(min_length=1, max_length=500, description="The `next` of the page before; leave it out for the first.")
]


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's query."""


class NoQuery(Query, frozen=True):
    """None."""


class PageQuery(Query, frozen=True):
    """Which page."""

    limit: Limit = LIMIT
    cursor: Cursor | None = None


class HistoryQuery(PageQuery, frozen=True):
    """Which page, and whether it goes from new to old or from old to new."""

    direction: Annotated[
        Literal["older", "newer"], Meta(description="From the newest message back, or from the oldest on.")
    ] = "older"


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    """What to look for, and in the conversation with whom only."""

    q: Annotated[str, Meta(min_length=1, max_length=200, description="Words, all of which a message must have.")]
    user: (
        Annotated[str, Meta(min_length=1, max_length=100, description="Only what was said with this person.")] | None
    ) = None


class PresenceQuery(Query, frozen=True):
    """Whose presence."""

    users: Annotated[
        str,
        Meta(
            min_length=32,
            max_length=200 * 33 - 1,
            pattern=USER_IDS,
            description="1 to 200 user ids, with commas between them.",
        ),
    ]


class SessionsQuery(Query, frozen=True):
    """Whether the session that asks goes on."""

    keep_current: Annotated[bool, Meta(description="The session that asks goes on.")] = False


class ReportsQuery(PageQuery, frozen=True):
    """Which reports."""

    state: Annotated[Literal["open", "closed"], Meta(description="Those to be looked at, or those that are done.")] = (
        "open"
    )
