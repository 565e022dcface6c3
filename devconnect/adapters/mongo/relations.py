"""What is between people, and what they report of each other, from the database."""

from collections.abc import Sequence

import msgspec

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields
from devconnect.adapters.mongo.layout import Listing
from devconnect.adapters.mongo.paging import page
from devconnect.domain.model import RelationState
from devconnect.ports.reads import Page, RelationView, ReportView, no_relation


async def read_relations(
    db: Database, user: str, state: RelationState, cursor: str | None, limit: int, *, listing: Listing
) -> Page[RelationView]:
    """What stands in this state between the user and others, newest first."""
    records, after = await page(db, listing, f"{user}:{state}:", cursor, limit)
    return Page(tuple(map(_relation_view, records)), after)


async def relations_to(db: Database, user: str, others: Sequence[str]) -> list[RelationView]:
    """What is between the user and each of these, in the order asked for."""
    ids = [layout.relation_id(user, other) for other in others]
    found = await db[layout.RELATIONS].find({"_id": {"$in": ids}}, batch_size=len(ids) + 1).to_list(None)
    views = {fields["other"]: _relation_view(fields) for fields in found}
    return [views.get(other) or no_relation(other) for other in others]


async def read_reports(db: Database, cursor: str | None, limit: int, *, open_ones: bool) -> Page[ReportView]:
    """Reports that are open, or that are closed, newest first."""
    listing = layout.OPEN_REPORTS if open_ones else layout.CLOSED_REPORTS
    records, after = await page(db, listing, "", cursor, limit)
    return Page(tuple(map(_report_view, records)), after)


async def read_report(db: Database, report: str) -> ReportView | None:
    """A report by its id."""
    fields = await db[layout.REPORTS].find_one({"_id": report})
    return None if fields is None else _report_view(fields)


def _relation_view(fields: Fields) -> RelationView:
    return RelationView(user=fields["other"], state=fields["state"], by=fields["by"], at=int(fields["at"]))


def _report_view(fields: Fields) -> ReportView:
    return msgspec.convert({**fields, "id": fields["_id"]}, ReportView)
