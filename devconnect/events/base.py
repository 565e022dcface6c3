"""What every command and every event has, and the ids that hold them together."""

import secrets
from typing import Literal

from msgspec import Struct

#: How many events one command may cause at most; `seq` leaves this much room behind each offset.
SEQ_STRIDE = 256

Tier = Literal["free", "silver", "gold"]
Role = Literal["member", "analyst", "operator"]
#: Who may see something of a person.
Audience = Literal["everybody", "connections", "nobody"]
#: Why a session is over.
EndReason = Literal["log_out", "log_out_everywhere", "password", "reset", "reuse", "replaced", "too_many", "deleted"]
#: By which somebody is told of things, and those of them that are asked for by a request.
Channel = Literal["in_app", "push", "email", "webhook"]
RequestChannel = Literal["push", "webhook"]
#: How soon a device is to be woken for something (RFC 8030).
Urgency = Literal["very-low", "low", "normal", "high"]
#: Why a browser is sent no push messages any more: asked for, its push service says so, its session is over, or there
#: were too many.
PushEnd = Literal["asked", "gone", "session_over", "too_many"]
#: Why a webhook is switched off: it has taken nothing for days, or it says that it is there no more, or is
#: nowhere that we may call.
WebhookTrouble = Literal["failing", "gone"]
DigestPeriod = Literal["off", "daily", "weekly"]
#: Why somebody is reported.
ReportReason = Literal["spam", "harassment", "impersonation", "inappropriate", "other"]

#: The actor of a command given on the machine itself (`python -m devconnect users …`).
SYSTEM = "system"

# gc=False: no event can hold itself, and millions of them needn't be looked through for cycles.


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What somebody wants: accepted by Kafka, not yet decided.

    `id` is the command id (32 hex digits), `actor` the user id of who asks, `at` the time of acceptance in
    milliseconds since 1970, `reply_to` the gateway that waits for the result ("" when none does). `fingerprint` is a
    digest of the request: a second command of the same id must have the same one.
    """

    id: str
    actor: str
    at: int
    reply_to: str = ""
    fingerprint: str = ""
    v: int = 1

    @property
    def key(self) -> str:
        """The Kafka key: commands of one key are decided one after the other."""
        return self.actor


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", gc=False):
    """What has happened. `seq` is the one clock of its partition, `at` is in milliseconds since 1970.

    `id` is the command's id and the event's index, so it is the same in each replay.
    """

    id: str
    seq: int
    at: int
    v: int = 1

    @property
    def key(self) -> str:
        """The Kafka key, the same as that of the command that caused this event."""
        raise TypeError(f"{type(self).__name__} has no key")


def type_of(value: Command | Event) -> str:
    """The type as it is written: "message.send"."""
    return str(value.__struct_config__.tag)


def new_id() -> str:
    """A fresh command, user or session id: 32 hex digits."""
    return secrets.token_hex(16)


def seq_of(offset: int, index: int = 0) -> int:
    """The place of the `index`-th effect of the command at `offset`: grows with both, exact below 2**53.

    Never 0, which means "none" wherever a place can be missing: a message's `previous`, a position.
    """
    if not 0 <= index < SEQ_STRIDE:
        raise ValueError(f"a command may cause at most {SEQ_STRIDE} events, not {index + 1}")
    return (offset + 1) * SEQ_STRIDE + index


def offset_of(seq: int) -> int:
    """The offset of the command that a `seq` came from."""
    return seq // SEQ_STRIDE - 1


def pair_id(one: str, other: str) -> str:
    """The id of two people's connection and of their conversation: both user ids, sorted."""
    return f"{one}.{other}" if one <= other else f"{other}.{one}"


def pair_of(pair: str) -> tuple[str, str]:
    """The two user ids of a pair id, sorted."""
    one, _, other = pair.partition(".")
    return one, other


def other_of(pair: str, user: str) -> str:
    """The other of the two; ValueError when `user` is not one of them."""
    one, other = pair_of(pair)
    if user == one:
        return other
    if user == other:
        return one
    raise ValueError(f"{user} is not one of {pair}")
