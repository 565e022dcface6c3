"""What sockets need of the outside world."""

from dataclasses import dataclass

from devconnect.ports.focus import Focus
from devconnect.ports.inbox import Inbox, Live
from devconnect.ports.roster import Roster, Watching


@dataclass(frozen=True, kw_only=True)
class RealtimePorts:
    """Only app.build makes real ones."""

    inbox: Inbox
    live: Live
    roster: Roster
    watching: Watching
    focus: Focus
