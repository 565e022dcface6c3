"""Connections, the requests that lead to them, blocks, and reports."""

from typing import Any

from devconnect.domain.model import RelationState
from devconnect.events import commands as c
from web import answers, bodies
from web.answers import Blocked, Connected, ConnectionAnswer, ReportAnswer, ReportDone, ReportMade, Waiting
from web.calls import AnyCall, Call, known_user
from web.operations import Operation, Page, Quota, Reply, command, read
from web.problems import ProblemError
from web.queries import NoQuery, PageQuery, ReportsQuery
from web.reads import Side
from web.requests import paged


def request_connection(call: Call[bodies.RequestConnection, NoQuery]) -> c.RequestConnection:
    """Show interest in somebody, or pass them by."""
    return c.RequestConnection(**call.common(), to=known_user(call.body.user), interest=call.body.interest)


def quota_of(body: bodies.RequestConnection) -> Quota:
    """Whom one passes by, one hasn't asked."""
    return "requests" if body.interest == "interested" else "writes"


def review_connection(call: Call[bodies.ReviewConnection, NoQuery]) -> c.ReviewConnection:
    """Answer somebody's request."""
    return c.ReviewConnection(**call.common(), requester=call.user(), verdict=call.body.verdict)


def withdraw_request(call: AnyCall) -> c.WithdrawRequest:
    """Take back a request."""
    return c.WithdrawRequest(**call.common(), to=call.user())


def remove_connection(call: AnyCall) -> c.RemoveConnection:
    """End a connection."""
    return c.RemoveConnection(**call.common(), other=call.user())


def block_user(call: AnyCall) -> c.BlockUser:
    """Want nothing of somebody."""
    return c.BlockUser(**call.common(), other=call.user())


def unblock_user(call: AnyCall) -> c.UnblockUser:
    """Take back a block."""
    return c.UnblockUser(**call.common(), other=call.user())


def report_user(call: Call[bodies.ReportUser, NoQuery]) -> c.ReportUser:
    """Tell the operators of somebody."""
    return c.ReportUser(
        **call.common(), other=known_user(call.body.user), reason=call.body.reason, note=call.body.note.strip()
    )


async def read_connections(call: Call[None, PageQuery]) -> Reply:
    """The people that the reader is connected with."""
    return await _people(call, "accepted", lambda shown, at: Connected(user=shown, since=at))


async def read_requests(call: Call[None, PageQuery]) -> Reply:
    """The people who wait for the reader's answer."""
    return await _people(call, "requested", _waiting, side="theirs")


async def read_sent_requests(call: Call[None, PageQuery]) -> Reply:
    """The people whose answer the reader waits for."""
    return await _people(call, "requested", _waiting, side="mine")


async def read_ignored(call: Call[None, PageQuery]) -> Reply:
    """The people whom the reader has passed by."""
    return await _people(call, "ignored", _waiting, side="mine")


def _waiting(shown: answers.Card, at: int) -> Waiting:
    return Waiting(user=shown, at=at)


async def _people(call: Call[None, PageQuery], state: RelationState, shape: Any, *, side: Side = "any") -> Reply:
    asked, reading, me = call.query, call.gateway.reads.reading(), call.me.user.id
    page = await paged(asked, reading.relations(me, state, asked.cursor, asked.limit, side=side))
    people = await reading.users([relation.user for relation in page.items])
    items = tuple(
        shape(answers.card(user, relation), relation.at)
        for relation, user in zip(page.items, people, strict=True)
        if user is not None and not user.deleted
    )
    return Reply(data=Page(items=items, next=page.next), source=reading.source)


async def read_blocks(call: Call[None, PageQuery]) -> Reply:
    """Whom the reader has blocked."""
    asked, reading = call.query, call.gateway.reads.reading()
    page = await paged(asked, reading.relations(call.me.user.id, "blocked", asked.cursor, asked.limit))
    items = tuple(Blocked(user=relation.user, at=relation.at) for relation in page.items)
    return Reply(data=Page(items=items, next=page.next), source=reading.source)


async def read_reports(call: Call[None, ReportsQuery]) -> Reply:
    """What people have told the operators, newest first."""
    asked = call.query
    is_open = asked.state == "open"
    page = await paged(asked, call.gateway.parts.library.reports(asked.cursor, asked.limit, open_ones=is_open))
    return Reply(data={"items": page.items, "next": page.next}, source="database")


async def close_report(call: Call[bodies.CloseReport, NoQuery]) -> Reply:
    """Be done with a report."""
    gateway = call.gateway
    report = await gateway.parts.library.report(call.ident("report", "report_unknown"))
    if report is None:
        raise ProblemError("report_unknown", "There is no such report.")
    call.order = gateway.commander.order(call.request, call.me.user.id, call.body)
    headers = await call.charge()
    order = c.CloseReport(
        **call.common(),
        report=report.id,
        reporter=report.by,
        reported=report.user,
        outcome=call.body.outcome,
        authority=call.me.role,
    )
    return Reply(outcome=await gateway.commander.ask(order, call.order.wait), headers=headers)


_TAG: dict[str, Any] = {"tag": "connections"}
_TO_PERSON: dict[str, Any] = {"answer": ConnectionAnswer, **_TAG}

OPERATIONS: tuple[Operation, ...] = (
    command(
        "POST",
        "/v1/connections",
        request_connection,
        "Show interest in somebody, or pass them by",
        body=bodies.RequestConnection,
        status=201,
        quota=quota_of,
        problems=(
            "user_unknown",
            "not_yourself",
            "already_connected",
            "already_requested",
            "request_waiting",
            "request_rejected",
            "blocked_by_you",
        ),
        description="Of two people who ask each other, the second one's request connects them.",
        **_TO_PERSON,
    ),
    read("/v1/connections", read_connections, "The own connections", query=PageQuery, answer=Page[Connected], **_TAG),
    read(
        "/v1/connections/requests",
        read_requests,
        "Requests that wait for the own answer",
        query=PageQuery,
        answer=Page[Waiting],
        **_TAG,
    ),
    read(
        "/v1/connections/requests/sent",
        read_sent_requests,
        "Own requests that wait for an answer",
        query=PageQuery,
        answer=Page[Waiting],
        **_TAG,
    ),
    read(
        "/v1/connections/ignored",
        read_ignored,
        "Whom one has passed by",
        query=PageQuery,
        answer=Page[Waiting],
        **_TAG,
    ),
    command(
        "DELETE",
        "/v1/connections/requests/{user}",
        withdraw_request,
        "Take back a request",
        problems=("user_unknown", "request_unknown"),
        **_TO_PERSON,
    ),
    command(
        "POST",
        "/v1/connections/{user}/review",
        review_connection,
        "Answer a request",
        body=bodies.ReviewConnection,
        problems=("user_unknown", "request_unknown"),
        **_TO_PERSON,
    ),
    command(
        "DELETE",
        "/v1/connections/{user}",
        remove_connection,
        "End a connection",
        problems=("user_unknown", "not_connected"),
        **_TO_PERSON,
    ),
    read("/v1/blocks", read_blocks, "Whom one has blocked", query=PageQuery, answer=Page[Blocked], **_TAG),
    command(
        "PUT",
        "/v1/blocks/{user}",
        block_user,
        "Block somebody",
        problems=("user_unknown", "not_yourself"),
        description="Whatever is between the two ends. To the one who is blocked the other doesn't exist.",
        **_TO_PERSON,
    ),
    command(
        "DELETE",
        "/v1/blocks/{user}",
        unblock_user,
        "Take back a block",
        problems=("user_unknown", "not_blocked"),
        **_TO_PERSON,
    ),
    command(
        "POST",
        "/v1/reports",
        report_user,
        "Tell the operators of somebody",
        body=bodies.ReportUser,
        status=201,
        answer=ReportMade,
        problems=("user_unknown", "not_yourself", "already_reported"),
        **_TAG,
    ),
    read(
        "/v1/reports",
        read_reports,
        "What people have told the operators",
        who="operator",
        query=ReportsQuery,
        answer=Page[ReportAnswer],
        tag="operators",
    ),
    Operation(
        method="POST",
        path="/v1/reports/{report}/close",
        name="closeReport",
        summary="Be done with a report",
        who="operator",
        body=bodies.CloseReport,
        handler=close_report,
        quota="writes",
        answer=ReportDone,
        problems=("report_unknown", "report_closed", "not_allowed"),
        tag="operators",
    ),
)
