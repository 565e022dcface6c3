"""The ledger never lets an offset move past a batch that isn't acknowledged, whatever the order and the gaps."""

from hypothesis import given, strategies as st

from faust_batch.ledger import OffsetLedger, Ticket


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50)), min_size=1, max_size=30), st.randoms())
def test_committable_is_exactly_the_unbroken_acknowledged_front(spans: list[tuple[int, int]], random) -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.reset("p", 0)
    ends, tickets, position = [], [], 0
    for gap, length in spans:
        position += gap + length
        tickets.append(ledger.hand_out("p", position))
        ends.append(position)
    order = list(range(len(spans)))
    random.shuffle(order)
    done: set[int] = set()
    for number in order:
        assert ledger.acknowledge("p", tickets[number])
        done.add(number)
        front = next((n for n in range(len(spans)) if n not in done), len(spans))
        assert ledger.committable() == ({"p": ends[front - 1]} if front else {})
    assert ledger.in_flight() == 0


@given(st.integers(0, 100), st.integers(1, 100))
def test_tickets_from_before_a_reset_count_for_nothing(start: int, length: int) -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.reset("p", start)
    old = ledger.hand_out("p", start + length)
    ledger.reset("p", start)
    new = ledger.hand_out("p", start + length)
    assert not ledger.acknowledge("p", old)
    assert ledger.committable() == {}
    assert ledger.acknowledge("p", new)
    assert ledger.committable() == {"p": start + length}


def test_a_forgotten_partition_commits_nothing() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ticket = ledger.hand_out("p", 10)
    ledger.forget(["p"])
    assert not ledger.acknowledge("p", ticket)
    assert not ledger.acknowledge("never", Ticket(1, 0))
    assert ledger.committable() == {}


def test_what_was_committed_is_not_committed_again() -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.acknowledge("p", ledger.hand_out("p", 10))
    ledger.committed("p", 10)
    assert ledger.committable() == {}
    ledger.acknowledge("p", ledger.hand_out("p", 20))
    ledger.committed("p", 10)
    assert ledger.committable() == {"p": 20}


@given(st.integers(0, 100), st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 300))
def test_a_held_partition_is_committed_up_to_the_hold_and_has_nothing_in_flight(
    start: int, lengths: list[int], at: int
) -> None:
    ledger: OffsetLedger[str] = OffsetLedger()
    ledger.reset("p", start)
    tickets, position = [], start
    for length in lengths:
        position += length
        tickets.append(ledger.hand_out("p", position))
    offset = start + at % lengths[0]
    assert ledger.hold("p", tickets[0], offset)
    assert not any(ledger.acknowledge("p", ticket) for ticket in tickets)
    assert not ledger.hold("p", tickets[-1], position)
    assert (ledger.committable(), ledger.in_flight(), ledger.position("p")) == ({"p": offset}, 0, offset)


def test_nothing_that_is_in_hand_is_told_as_done() -> None:
    """A window may close on that, and who has lost the partition knows nothing."""
    ledger: OffsetLedger[str] = OffsetLedger()
    assert ledger.front("p") is None
    ledger.reset("p", None)
    assert ledger.front("p") is None
    ledger.reset("p", 5)
    assert ledger.front("p") == 5
    first, second = ledger.hand_out("p", 10), ledger.hand_out("p", 20)
    ledger.acknowledge("p", second)
    assert ledger.front("p") == 5
    ledger.acknowledge("p", first)
    ledger.committed("p", 20)
    assert ledger.front("p") == 20
    ledger.forget(["p"])
    assert ledger.front("p") is None
