"""Reports: what people tell the operators of each other. One open report each way at a time."""

import msgspec

from devconnect.domain.model import AnyDocument, Connection, Ref, Report, Snapshot
from devconnect.domain.verdict import Verdict, accept, refuse, stamp
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SYSTEM

#: What is said of reports among the events of a pair.
EVENTS = (f.UserReported, f.ReportClosed)


def report(command: c.ReportUser, offset: int, between: Connection | None, *, known: bool) -> Verdict:
    """Whoever has ever been here can be reported, whatever stands between: a block must not keep a report away."""
    if command.other == command.actor:
        return refuse("not_yourself", "Nobody can report themselves: name somebody else.")
    if not known:
        return refuse("user_unknown", "There is no such user.")
    if between is not None and command.actor in between.reports:
        return refuse("already_reported", "The operators know: your report of them is still open.")
    mark = stamp(command, offset)
    event = f.UserReported(
        id=mark.id,
        seq=mark.seq,
        at=mark.at,
        by=command.actor,
        other=command.other,
        report=command.id,
        reason=command.reason,
        note=command.note,
    )
    return accept({"report": command.id, "user": command.other, "reason": command.reason, "at": command.at}, event)


def close(command: c.CloseReport, offset: int, found: AnyDocument | None) -> Verdict:
    """Operators close reports, but for those of themselves."""
    if command.actor != SYSTEM and (command.authority != "operator" or command.actor == command.reported):
        return refuse("not_allowed", "Only an operator may close a report, and not one of themselves.")
    if not isinstance(found, Report) or (found.by, found.user) != (command.reporter, command.reported):
        return refuse("report_unknown", "There is no such report of theirs.")
    if found.closed_at is not None:
        return refuse("report_closed", "This report was closed already.")
    mark = stamp(command, offset)
    event = f.ReportClosed(
        id=mark.id,
        seq=mark.seq,
        at=mark.at,
        by=found.by,
        other=found.user,
        report=found.id,
        operator=command.actor,
        outcome=command.outcome,
    )
    result = {"report": found.id, "outcome": command.outcome, "closed_by": command.actor, "closed_at": command.at}
    return accept(result, event)


def evolve(state: Snapshot, event: f.UserReported | f.ReportClosed) -> tuple[AnyDocument, ...]:
    """The report after the event, unless it is ahead of it already."""
    before = state.get(Ref("report", event.report))
    if before is not None and (before.seq >= event.seq or not isinstance(before, Report)):
        return ()
    if isinstance(event, f.UserReported):
        return (
            Report(
                id=event.report,
                seq=event.seq,
                by=event.by,
                user=event.other,
                reason=event.reason,
                note=event.note,
                at=event.at,
            ),
        )
    if before is None:
        return ()  # it is stored with what made it, which comes before this
    return (
        msgspec.structs.replace(
            before, seq=event.seq, closed_at=event.at, closed_by=event.operator, outcome=event.outcome
        ),
    )


def open_after(before: dict[str, str], event: f.UserReported | f.ReportClosed) -> dict[str, str]:
    """The open reports of a pair, by who made them, after the event."""
    if isinstance(event, f.UserReported):
        return {**before, event.by: event.report}
    return {by: found for by, found in before.items() if found != event.report}
