"""Tiers and roles: given by the machine's operator or by people who are operators, and each change is kept."""

from devconnect.domain.model import Audit, Snapshot, User
from devconnect.domain.sessions import account
from devconnect.domain.verdict import Verdict, refuse
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SYSTEM


def subject(command: c.ChangeTier | c.ChangeRole, state: Snapshot) -> User | Verdict:
    """The user whose rights are to change, or why they can't be."""
    if command.actor != SYSTEM and command.authority != "operator":
        return refuse("not_allowed", "Only operators give tiers and roles.")
    if isinstance(command, c.ChangeRole) and command.actor == command.user:
        # So there is always an operator left: who takes the role from the last but one.
        return refuse("not_allowed", "Your own role is for another operator to change.")
    return account(state, command.user) or refuse("user_unknown", "There is no such user.")


def audit(event: f.TierChanged | f.RoleChanged) -> Audit:
    """What is kept of a change; of events that don't say what was before, it isn't known."""
    tier = isinstance(event, f.TierChanged)
    return Audit(
        id=event.id,
        seq=event.seq,
        user=event.user,
        by=event.by,
        what="tier" if tier else "role",
        before=event.before or "",
        after=event.tier if isinstance(event, f.TierChanged) else event.role,
        reason=event.reason,
        at=event.at,
    )
