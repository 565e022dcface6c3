"""What people read, built from updates as the store's scripts do it: every update moves forward only."""

from typing import Any

from devconnect.domain.projections import (
    AddNotification,
    AppendMessage,
    DelUser,
    EndSession,
    MovePosition,
    MoveSession,
    PutRelation,
    PutSession,
    PutTalk,
    PutUnread,
    PutUser,
    ReplaceMessage,
    SetPresence,
    Update,
)


class ReadModel:
    """The few rules that the scripts follow."""

    def __init__(self, updates: list[Update]) -> None:
        self.state: dict[tuple[Any, ...], Any] = {}
        for update in updates:
            self._apply(update)

    def _apply(self, update: Update) -> None:
        match update:
            case PutUser() | DelUser():
                self._account(update)
            case PutSession() | MoveSession() | EndSession():
                self._session(update)
            case SetPresence() | AddNotification():
                self._own(update)
            case PutRelation():
                self._forward(("relation", update.user, update.other), update.seq, (update.state, update.by))
            case AppendMessage() | ReplaceMessage():
                message = update.message if isinstance(update, ReplaceMessage) else update
                said = message.text, message.previous, message.edited_at, message.deleted
                self._forward(("message", message.conversation, message.seq), update.seq, said)
            case PutUnread() | PutTalk() | MovePosition():
                self._place(update)
            case _:
                pass

    def _account(self, update: PutUser | DelUser) -> None:
        self._forward(("user", update.user), update.seq, "seq")
        for field, text in update.fields.items():
            self._forward(("user", update.user, field), update.seq, text)
        if isinstance(update, DelUser):
            self.state["gone", update.user] = True
            for key in [key for key in self.state if key[0] in ("device", "notification") and key[1] == update.user]:
                del self.state[key]

    def _session(self, update: PutSession | MoveSession | EndSession) -> None:
        if isinstance(update, EndSession):
            self.state["session", update.session] = "over"
        else:
            self.state.setdefault(("session", update.session), "open")
            self._forward(("expires", update.session), update.seq, update.expires_at)

    def _own(self, update: SetPresence | AddNotification) -> None:
        """Of people who are gone there is neither."""
        if ("gone", update.user) in self.state:
            return
        if isinstance(update, SetPresence):
            self._forward(("device", update.user, update.session), update.seq, update.until)
        else:
            self.state["notification", update.user, update.notification] = update.kind

    def _place(self, update: PutUnread | PutTalk | MovePosition) -> None:
        match update:
            case PutUnread():
                key: tuple[Any, ...] = ("told", update.conversation, update.user, update.place)
                self.state[key] = update.gone or self.state.get(key, False)
            case PutTalk():
                key = ("talk", update.user, update.peer)
                self.state[key] = max(update.at, self.state.get(key, 0))
            case MovePosition():
                key = ("position", update.conversation, update.user)
                delivered, read = self.state.get(key, (0, 0))
                self.state[key] = max(delivered, update.delivered), max(read, update.read)

    def _forward(self, key: tuple[Any, ...], seq: int, value: Any) -> None:
        before = self.state.get(key)
        if before is None or before[0] < seq:
            self.state[key] = seq, value
