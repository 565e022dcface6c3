"""Dead letters: written and read back, what became of them, and in which order they are tried again."""

from dataclasses import dataclass

import pytest

from devconnect.domain import letters as d
from devconnect.domain.letters import Allowance, Letter, Mark, Name, OutOfOrderError, UnknownLetterError
from devconnect.ports.publisher import DeadLetter, Record
from tests.fakes import MemoryRecord
from workers.letters import CAUSE_KEPT, allowance_record, entry, letter_record, mark_record


@dataclass
class At:
    """A place and an agent, for short."""

    topic: str = "t"
    partition: int = 0
    agent: str = "keep"

    def letter(self, offset: int, key: str | None = "k") -> Letter:
        name = Name(self.topic, self.partition, offset, self.agent)
        return Letter(name=name, cause="why", at=1, key=key.encode() if key else None, value=b"v")


def read_back(record: Record) -> d.Entry | None:
    return entry(MemoryRecord(0, record.key, record.value, headers=record.headers))


def test_a_letter_is_read_back_as_it_was_buried_with_the_headers_of_its_source() -> None:
    buried = DeadLetter(
        agent="keep",
        cause="ü" * 1000,
        topic="t",
        partition=3,
        offset=7,
        key=b"k",
        value=b"\xff",
        headers=(("mark", b"dropped"), ("a", b"1")),
    )
    assert read_back(letter_record(buried, 42)) == Letter(
        name=Name("t", 3, 7, "keep"),
        cause="ü" * CAUSE_KEPT,
        at=42,
        key=b"k",
        value=b"\xff",
        headers=buried.headers,
    )


def test_marks_and_allowances_are_read_back() -> None:
    for mark in (Mark(Name("t", 3, 7, "keep"), "retried"), Mark(Name("t", 3, 7, "keep"), "dropped")):
        assert read_back(mark_record(mark, 1)) == mark
    assert read_back(allowance_record(Allowance("t", 3, 99), 1)) == Allowance("t", 3, 99)


@pytest.mark.parametrize(
    "headers",
    [(), (("topic", b"t"),), (("topic", b"t"), ("partition", b"x"), ("offset", b"1"), ("agent", b"a"))],
)
def test_what_is_no_letter_is_passed_over(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert entry(MemoryRecord(0, None, b"", headers=headers)) is None


def test_a_letter_that_was_buried_twice_is_there_once_and_what_was_done_about_it_stays() -> None:
    one, other = At().letter(1), At(agent="view").letter(1)
    found = d.gather([one, other, Mark(one.name, "dropped"), one, At().letter(0)])
    assert [(str(name), letter.state) for name, letter in found.items()] == [
        ("t:0:0@keep", "open"),
        ("t:0:1@keep", "dropped"),
        ("t:0:1@view", "open"),
    ]


def test_an_id_is_the_place_and_names_the_agent_only_where_several_have_buried_the_record() -> None:
    letters = d.gather([At().letter(1), At(agent="view").letter(1), At().letter(2)])
    assert list(d.ids(letters).values()) == ["t:0:1@keep", "t:0:1@view", "t:0:2"]
    assert d.find(letters, "t:0:2").name == d.find(letters, "t:0:2@keep").name == Name("t", 0, 2, "keep")
    assert d.find(letters, "t:0:1@view").name.agent == "view"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("t:0", "is no id"),
        ("t:0:x", "is no id"),
        ("", "is no id"),
        ("t:0:9", "there is no letter"),
        ("t:0:2@nobody", "there is no letter"),
        ("t:0:1", "say t:0:1@keep or t:0:1@view"),
    ],
)
def test_an_id_that_names_no_letter_or_two_is_refused_with_what_to_do(text: str, why: str) -> None:
    letters = d.gather([At().letter(1), At(agent="view").letter(1), At().letter(2)])
    with pytest.raises(UnknownLetterError, match=why):
        d.find(letters, text)


def test_letters_of_a_key_come_in_their_order_and_those_of_others_do_not_matter() -> None:
    entries = [At().letter(3), At().letter(1), At().letter(2, "other"), At(agent="view").letter(0)]
    letters = d.gather(entries)
    chosen = [entries[0].name, entries[1].name]
    assert [letter.offset for letter in d.in_order(letters, chosen)] == [1, 3]


def test_a_letter_with_an_earlier_open_one_of_its_key_is_refused_or_comes_after_it() -> None:
    first, second = At().letter(1), At().letter(2)
    letters = d.gather([first, second])
    with pytest.raises(OutOfOrderError, match="t:0:1@keep of the same key"):
        d.in_order(letters, [second.name])
    assert d.in_order(letters, [second.name], with_earlier=True) == [first, second]
    assert d.in_order(letters, [first.name], with_earlier=True) == [first]
    done = d.gather([first, second, Mark(first.name, "dropped")])
    assert d.in_order(done, [second.name]) == [second]


def test_letters_without_a_key_have_no_order() -> None:
    first, second = At().letter(1, None), At().letter(2, None)
    assert d.in_order(d.gather([first, second]), [second.name]) == [second]
