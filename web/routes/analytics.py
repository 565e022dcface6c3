"""The tables that the fleet keeps, for analysts and operators."""

from devconnect.domain.analytics import TABLES
from web.answers import TableAnswer
from web.calls import Call
from web.operations import Operation, Reply, read
from web.problems import ProblemError
from web.queries import PageQuery
from web.requests import paged


async def read_table(call: Call[None, PageQuery]) -> Reply:
    """Rows of a table: sorted by its key, or (a table in many buckets) by bucket and key."""
    table = TABLES.get(call.params["name"])
    if table is None:
        raise ProblemError("table_unknown", f"The tables are {', '.join(sorted(TABLES))}.")
    asked, reading = call.query, call.gateway.reads.reading()
    page = await paged(asked, reading.table(table.name, asked.cursor, asked.limit))
    shown = TableAnswer(table=table.name, key=table.key, items=page.items, next=page.next)
    return Reply(data=shown, source=reading.source)


OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/analytics/tables/{name}",
        read_table,
        "Rows of an analytics table",
        who="analyst",
        query=PageQuery,
        answer=TableAnswer,
        problems=("table_unknown",),
        tag="analysts",
    ),
)
