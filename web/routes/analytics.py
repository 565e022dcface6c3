"""The tables that the fleet keeps, for analysts and operators."""

from aiohttp import web

from devconnect.domain.analytics import TABLES
from web.auth import Caller, private, require_role
from web.gateway import GATEWAY
from web.problems import ProblemError
from web.requests import paged, read_page
from web.views import read_response


async def read_table(request: web.Request, caller: Caller) -> web.Response:
    """Rows of a table: sorted by its key, or (a table in many buckets) by bucket and key."""
    require_role(caller, "analyst", "operator")
    table = TABLES.get(request.match_info["name"])
    if table is None:
        raise ProblemError("table_unknown", f"The tables are {', '.join(sorted(TABLES))}.")
    asked = read_page(request)
    reading = request.app[GATEWAY].reads.reading()
    page = await paged(asked, reading.table(table.name, asked.cursor, asked.limit))
    shown = {"table": table.name, "key": table.key, "items": page.items, "next": page.next}
    return read_response(shown, reading.source)


def routes() -> list[web.RouteDef]:
    """/v1/analytics"""
    return [web.get("/v1/analytics/tables/{name}", private(read_table))]
