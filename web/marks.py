"""The mark that an answer to a command carries, so that a later read can wait until it shows what the command did."""

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from devconnect.events.base import SEQ_STRIDE
from devconnect.events.topics import COMMAND_TO_EVENT
from web.commands import Outcome
from web.patterns import MARK

_TOPICS = tuple(topic.name for topic in COMMAND_TO_EVENT.values())
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_encode = msgspec.msgpack.Encoder().encode
_MARK = re.compile(MARK)
_DECODER = msgspec.msgpack.Decoder(tuple[int, int, int, bool])


class Mark(NamedTuple):
    """A topic of events, a partition of it, and the seq up to which it must have been applied.

    What was `decided` when the mark was given is in the database since then.
    """

    topic: str
    partition: int
    seq: int
    decided: bool

    @classmethod
    def of(cls, outcome: Outcome) -> "Mark":
        """What shows that the command has had its effects in the read models."""
        topic = COMMAND_TO_EVENT[outcome.topic].name
        return cls(topic, outcome.partition, outcome.seq, outcome.decision is not None)

    @classmethod
    def read(cls, text: str) -> "Mark | None":
        """The mark in a header; None when it is none of ours."""
        if not _MARK.fullmatch(text):
            return None
        try:
            data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            number, partition, seq, decided = _DECODER.decode(data)
            return cls(_TOPICS[number], partition, seq, decided) if min(number, partition, seq) >= 0 else None
        except (UnicodeError, binascii.Error, msgspec.MsgspecError, IndexError):
            return None

    def text(self) -> str:
        """The mark for a header."""
        data = _encode((_TOPICS.index(self.topic), self.partition, self.seq, self.decided))
        return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()

    def behind(self, applied: int) -> int:
        """How many commands of the partition at most are not applied yet, from here back."""
        return max(0, self.seq // SEQ_STRIDE - applied // SEQ_STRIDE)
