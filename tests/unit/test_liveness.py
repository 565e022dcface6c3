"""When a partition counts as standing still."""

from collections.abc import Set as AbstractSet
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from faust_batch.ledger import OffsetLedger
from faust_batch.liveness import Lookout, Movement, Standing

A0, A1, B0 = TP("a", 0), TP("a", 1), TP("b", 0)
DEAF = Standing(position=5, done=5, in_hand=False, end=9)
STUCK = Standing(position=9, done=5, in_hand=True, end=9)
IDLE = Standing(position=9, done=9, in_hand=False, end=9)


def still(*looks: dict[TP, Standing], excused: AbstractSet[TP] = frozenset()) -> dict[TP, float]:
    """For how long each stands still after looks a second apart."""
    movement = Movement()
    for second, look in enumerate(looks):
        movement.note(look, second, excused)
    return movement.still(len(looks) - 1)


def test_what_is_left_and_not_taken_stands_still() -> None:
    assert still(*[{A0: DEAF, A1: STUCK, B0: IDLE}] * 5) == {A0: 4, A1: 4, B0: 0}


def test_an_end_that_grows_is_no_movement_of_ours() -> None:
    assert still(*({A0: DEAF._replace(end=end)} for end in range(9, 14))) == {A0: 4}


def test_any_step_is_movement() -> None:
    assert still({A0: DEAF}, {A0: DEAF}, {A0: DEAF._replace(position=6)}, {A0: DEAF._replace(position=6)}) == {A0: 1}
    assert still({A0: STUCK}, {A0: STUCK}, {A0: STUCK._replace(done=6)}, {A0: STUCK._replace(done=6)}) == {A0: 1}


def test_work_that_is_new_is_counted_from_when_it_was_seen() -> None:
    assert still({A0: IDLE}, {A0: IDLE}, {A0: IDLE._replace(end=10)}, {A0: IDLE._replace(end=10)}) == {A0: 2}


def test_a_batch_that_waits_for_its_turn_does_not_stand_still_while_its_agent_gets_on() -> None:
    moving = [{A0: STUCK, B0: STUCK, A1: STUCK._replace(done=done)} for done in range(5)]
    assert still(*moving) == {A0: 0, B0: 4, A1: 0}


def test_a_deaf_partition_is_not_excused_by_its_neighbours() -> None:
    assert still(*({A0: DEAF, A1: STUCK._replace(done=done)} for done in range(5))) == {A0: 4, A1: 0}


def test_what_is_excused_does_not_stand_still_and_what_was_taken_away_is_forgotten() -> None:
    assert still(*[{A0: STUCK, A1: STUCK}] * 3, excused={A0}) == {A0: 0, A1: 2}
    assert still({A0: DEAF, A1: DEAF}, {A0: DEAF}, {A0: DEAF, A1: DEAF}) == {A0: 2, A1: 0}


class Looks:
    """A lookout on a consumer with a batch in hand that never gets done."""

    def __init__(self) -> None:
        self.stir = 0
        ledger: OffsetLedger[TP] = OffsetLedger()
        ledger.hand_out(A0, 5)
        self.consumer = SimpleNamespace(
            ledger=ledger,
            committed_at=0.0,
            note_idle=lambda: None,
            held=frozenset,
            _thread=SimpleNamespace(_thread=None),
        )
        recovery = SimpleNamespace(completed=SimpleNamespace(is_set=lambda: True))
        self.app: Any = SimpleNamespace(
            consumer=self.consumer, rebalancing=False, tables=SimpleNamespace(recovery=recovery)
        )
        self.lookout = Lookout(self.app, "nowhere:1", stirs=lambda: self.stir)
        self.now = 0.0
        self.look()

    def look(self) -> None:
        self.lookout._note({A0: STUCK}, self.now)
        self.now += 10

    def trouble(self) -> str | None:
        return self.lookout.trouble(60)


def test_a_restore_or_a_wait_for_a_store_may_last_as_long_as_it_likes() -> None:
    looks = Looks()
    for _ in range(100):
        looks.stir += 1
        looks.look()
        assert looks.trouble() is None
    for _ in range(7):
        looks.look()
    assert looks.trouble() == "a-0 stands still at 5 for 70 s, its end is 9"


def test_a_rebalance_that_never_ends_is_trouble() -> None:
    looks = Looks()
    looks.app.rebalancing = True
    for _ in range(6):
        looks.stir += 1
        looks.look()
        assert looks.trouble() is None
    for _ in range(7):
        looks.look()
    assert looks.trouble() == "not in its group for 70 s"


def test_offsets_that_are_never_committed_are_trouble() -> None:
    looks = Looks()
    looks.consumer.ledger.reset(A0, 0)
    ticket = looks.consumer.ledger.hand_out(A0, 5)
    looks.consumer.ledger.acknowledge(A0, ticket)
    for number in range(7):
        looks.lookout._note({A0: STUCK._replace(done=number)}, looks.now)
        looks.now += 10
    assert looks.trouble() == "batches are done and nothing was committed for 70 s"
