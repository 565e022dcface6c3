"""Search: the words of a text, and of what somebody looks for. Whole words only: a beginning of one finds nothing."""

import re
import unicodedata

from msgspec import Struct

from devconnect.domain.model import message_key
from devconnect.events import facts as f
from devconnect.events.base import pair_of

#: Words of one message that it can be found by; a text of 4,000 characters rarely has more different ones.
WORDS_KEPT = 200
#: Words that are looked for at once; more of them are not looked at.
WORDS_SOUGHT = 10
#: Characters of a word at most, after folding: longer ones are cut, in a text and in what is looked for alike.
LONGEST = 64
_WORD = re.compile(r"\w\w+")


def words_of(text: str, most: int = WORDS_KEPT) -> tuple[str, ...]:
    """Its different words of two characters or more, in order, folded: neither case nor width of a letter matters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found = dict.fromkeys(word[:LONGEST] for word in _WORD.findall(folded))
    return tuple(found)[:most]


def sought(query: str) -> tuple[str, ...]:
    """The words that a message must have, all of them; none where there is nothing to look for."""
    return words_of(query, WORDS_SOUGHT)


class Entry(Struct, frozen=True):
    """What `user` can find a message by since the event at `seq`; it was said at `at`. No words: it was deleted."""

    user: str
    message: str
    at: int
    words: tuple[str, ...]
    seq: int


def entries(event: f.AnyMessageEvent) -> tuple[Entry, ...]:
    """What each of the two can find a message by after the event; nothing where that is as before."""
    match event:
        case f.MessageSent():
            place, at, words = event.seq, event.at, words_of(event.text)
        case f.MessageEdited():
            place, at, words = event.of, event.said_at, words_of(event.text)
        case f.MessageDeleted():
            place, at, words = event.of, event.said_at, ()
        case _:
            return ()
    message = message_key(event.conversation, place)
    return tuple(Entry(user, message, at, words, event.seq) for user in pair_of(event.conversation))
