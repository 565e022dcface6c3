"""By which words a message is found, and by nothing else."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agents.notifications import on_events
from agents.processing import Slice
from agents.search import IndexMessages, ListTalks
from agents.several import Several
from devconnect.domain import search
from devconnect.domain.model import message_key
from devconnect.domain.projections import PutTalk
from devconnect.domain.search import LONGEST, WORDS_KEPT, WORDS_SOUGHT, sought, words_of
from devconnect.events import facts as f
from devconnect.events.topics import CONNECTION_EVENTS, MESSAGE_EVENTS, NOTIFICATION_EVENTS
from devconnect.ports.truth import UnavailableError
from tests.delivery_fakes import telling
from tests.fakes import MemoryListings, MemoryPublisher, MemoryRecord, MemoryTruth

AT = 1_700_000_000_000
PAIR = "ann.bob"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ("hello", "world")),
        ("a bc d EF", ("bc", "ef")),
        ("twice twice Twice", ("twice",)),
        ("Straße STRASSE", ("strasse",)),
        ("\uff2b\uff41fka \ufb01ne", ("kafka", "fine")),
        ("snake_case x2 v1.2.3 don't", ("snake_case", "x2", "v1", "don")),
        ("Grüße Gru\u0308\u00dfe", ("grüsse",)),
        ("?! … \n", ()),
        ("", ()),
    ],
)
def test_words_are_compared_folded(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


def test_there_is_an_end_to_words() -> None:
    assert len(words_of(" ".join(f"w{n}" for n in range(WORDS_KEPT + 50)))) == WORDS_KEPT
    assert len(sought(" ".join(f"w{n}" for n in range(50)))) == WORDS_SOUGHT
    assert words_of("x" * 500) == sought("x" * 400) == ("x" * LONGEST,)


@given(st.text(max_size=200))
def test_a_message_is_found_by_each_of_its_words_however_it_is_written(text: str) -> None:
    for word in words_of(text):
        assert set(sought(word)) <= set(words_of(text))
        assert set(sought(word.upper())) <= set(words_of(text.upper())) | set(words_of(text))


def sent(seq: int = 512, text: str = "Good morning", at: int = AT) -> f.MessageSent:
    return f.MessageSent(
        id=f"c{seq}.0",
        seq=seq,
        at=at,
        conversation=PAIR,
        message=f"c{seq}",
        sender="ann",
        recipient="bob",
        text=text,
        previous=0,
    )


def edited(seq: int, text: str, of: int = 512) -> f.MessageEdited:
    return f.MessageEdited(
        id=f"c{seq}.0", seq=seq, at=AT + 9, conversation=PAIR, of=of, message="c1", sender="ann", text=text, said_at=AT
    )


def deleted(seq: int, of: int = 512) -> f.MessageDeleted:
    return f.MessageDeleted(
        id=f"c{seq}.0", seq=seq, at=AT + 9, conversation=PAIR, of=of, message="c1", sender="ann", said_at=AT
    )


def test_both_find_a_message_by_what_it_says_last() -> None:
    for event, words in (
        (sent(), ("good", "morning")),
        (edited(768, "Good night"), ("good", "night")),
        (deleted(1024), ()),
    ):
        found = search.entries(event)
        assert [entry.user for entry in found] == ["ann", "bob"]
        assert {(entry.message, entry.at) for entry in found} == {(message_key(PAIR, 512), AT)}
        assert {entry.words for entry in found} == {words}
        assert {entry.seq for entry in found} == {event.seq}
    assert search.entries(f.MessageRead(id="c", seq=1, at=AT, conversation=PAIR, user="bob", up_to=1)) == ()


def slices(*events: Any) -> Sequence[Slice[Any]]:
    return [Slice("message-events", 0, [MemoryRecord(n, None, None) for n in range(len(events))], list(events))]


class Counted(MemoryListings):
    """Counts what is written, and can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.down = False

    async def put_talks(self, talks: Sequence[PutTalk]) -> None:
        if self.down:
            raise UnavailableError("down")
        self.writes += len(talks)
        await super().put_talks(talks)

    async def put_words(self, entries: Sequence[search.Entry]) -> None:
        self.writes += len(entries)
        await super().put_words(entries)


async def test_a_batch_writes_each_message_and_each_conversation_once_for_each_of_the_two() -> None:
    listings = Counted()
    log = [sent(256 * n, at=AT + n) for n in range(1, 6)]
    batch = slices(*log, *(edited(256 * n + 1, f"edit {n}", of=256) for n in range(6, 9)))
    await IndexMessages(listings).apply(batch)
    assert listings.writes == 10
    assert listings.words["ann", message_key(PAIR, 256)].words == ("edit",)
    listings.writes = 0
    await ListTalks(listings).apply(batch)
    assert listings.writes == 2
    assert listings.talks == {("ann", "bob"): AT + 5, ("bob", "ann"): AT + 5}


@given(st.permutations([sent(), edited(768, "one more"), edited(1024, "and more"), deleted(1280)]))
async def test_in_whatever_order_a_message_is_indexed_its_last_change_stays(log: list[Any]) -> None:
    listings = MemoryListings()
    for event in log:
        await IndexMessages(listings).apply(slices(event))
    assert [entry.words for entry in listings.words.values()] == [(), ()]


async def test_nobody_is_told_again_because_the_lists_are_down() -> None:
    listings, publisher = Counted(), MemoryPublisher()
    step = on_events(MESSAGE_EVENTS, publisher, listings, telling(MemoryTruth()))
    assert isinstance(step, Several)
    assert step.name == "notify-message-events"
    listings.down = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await step.apply(slices(sent()))
    assert publisher.logs == {}
    listings.down = False
    await step.apply(slices(sent()))
    assert [len(log) for (topic, _), log in publisher.logs.items() if topic == NOTIFICATION_EVENTS.name] == [1]
    assert set(listings.talks) == {("ann", "bob"), ("bob", "ann")}


def test_other_events_are_in_no_list() -> None:
    assert not isinstance(
        on_events(CONNECTION_EVENTS, MemoryPublisher(), MemoryListings(), telling(MemoryTruth())), Several
    )
