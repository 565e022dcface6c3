"""What a command agent remembers: bounded, and only while it misses no command. The property tests do the rest."""

from agents.memory import Memory
from agents.processing import Slice
from devconnect.domain.model import Logins, Message, Ref, message_key
from tests.fakes import MemoryRecord


def slice_of(*offsets: int, partition: int = 0) -> Slice[None]:
    return Slice("topic", partition, [MemoryRecord(offset, None, None) for offset in offsets], [None] * len(offsets))


def logins(name: str) -> Logins:
    return Logins(id=name, seq=1, sessions={})


def refs(*names: str) -> set[Ref]:
    return {Ref("logins", name) for name in names}


def taken(memory: Memory, *slices: Slice[None]) -> bool:
    """Whether "s" is still known after these slices."""
    memory.keep(refs("s"), {}, [logins("s")])
    for part in slices:
        memory.follow([part])
        memory.finish([part])
    return not memory.recall(refs("s"))[1]


def test_what_is_absent_is_known_too() -> None:
    memory = Memory(("logins",))
    memory.keep(refs("a", "b"), {Ref("logins", "a"): logins("a")}, [])
    assert memory.recall(refs("a", "b", "c")) == ({Ref("logins", "a"): logins("a")}, refs("c"))


def test_other_kinds_are_not_remembered() -> None:
    memory = Memory(("user",))
    memory.keep(refs("s"), {}, [logins("s")])
    assert memory.recall(refs("s")) == ({}, refs("s"))


def test_the_longest_unused_go_first_and_only_when_a_batch_is_done() -> None:
    memory = Memory(("logins",), capacity=2)
    memory.keep((), {}, [logins("a"), logins("b"), logins("c")])
    memory.keep((), {}, [logins("a")])
    assert memory.recall(refs("a", "b", "c"))[1] == set()
    memory.finish([slice_of(0)])
    assert memory.recall(refs("a", "b", "c"))[1] == refs("b")


def test_all_is_forgotten_where_a_command_may_have_been_missed() -> None:
    assert taken(
        Memory(("logins",)), slice_of(3, 4), slice_of(0, 1, partition=1), slice_of(5), slice_of(2, partition=1)
    )
    assert not taken(Memory(("logins",)), slice_of(3, 4), slice_of(6))
    assert not taken(Memory(("logins",)), slice_of(3, 4), slice_of(4, 5))
    assert not taken(Memory(("logins",)), slice_of(3, 5))


def test_messages_are_remembered_only_until_they_are_stored() -> None:
    memory = Memory(("message",))
    key = message_key("ann.bob", 256)
    said = Message(id=key, seq=256, message="c1", conversation="ann.bob", sender="ann", recipient="bob", text="", at=1)
    memory.keep((), {}, [said])
    assert memory.recall([Ref("message", key)]) == ({Ref("message", key): said}, set())
    memory.finish([slice_of(0)])
    assert memory.recall([Ref("message", key)]) == ({}, {Ref("message", key)})
