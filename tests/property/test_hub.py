"""The hub: whatever is lost, late, doubled or down, each socket is told everything once and in order, or that it isn't;
and nobody is left behind."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.property.sockets import House
from web.realtime.hub import PATIENCE, ROUND

USERS = ("ada", "bob")
users = st.sampled_from(USERS)
some = st.integers(0, 30)
seeds = st.integers(0, 2**32)


class Telling(RuleBasedStateMachine):
    """Two people, their inboxes, their sockets, and all that can go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(USERS)
        self.post, self.line = self.house.post, self.house.line

    @initialize(seed=seeds, before=st.integers(0, 12))
    def begin(self, seed: int, before: int) -> None:
        self.house.trouble.random = Random(seed)
        for _ in range(before):
            self.post.put(USERS, 0)

    # -- what happens

    @rule(users=st.lists(users, min_size=1, max_size=3), gap=st.integers(0, 2), heard=st.booleans())
    def put(self, users: list[str], gap: int, heard: bool) -> None:
        """Something is told to somebody."""
        self.house.within(lambda: self.post.put(users, gap))
        if heard:
            self.house.within(lambda: self.line.deliver(100))

    @rule()
    def keep(self) -> None:
        self.house.within(self.post.keep)

    @rule(many=st.integers(1, 3))
    def deliver(self, many: int) -> None:
        self.house.within(lambda: self.line.deliver(many))

    @rule(seconds=st.sampled_from((0.0, 0.01, 0.1, 0.6, 3.0, ROUND)))
    def wait(self, seconds: float) -> None:
        self.house.loop.advance(seconds)

    @rule(user=users, number=some, anew=st.booleans())
    def come(self, user: str, number: int, anew: bool) -> None:
        """A device connects: for the first time, or with a cursor of some time ago."""
        cursors = [0, *(item.cursor for item in self.post.written[user])]
        self.house.come(user, None if anew else cursors[-1 - number % len(cursors)])

    @rule(number=some)
    def come_back(self, number: int) -> None:
        """One that was closed comes again with its cursor."""
        gone = [ear for ear in self.house.ears if ear.closed and ear.cursor is not None]
        if gone:
            ear = gone[number % len(gone)]
            self.house.come(ear.user, ear.cursor)

    @rule(number=some)
    def leave(self, number: int) -> None:
        if self.house.here:
            self.house.within(self.house.here[number % len(self.house.here)].leave)

    # -- what goes wrong

    @rule(failing=st.sampled_from((0, 0, 5, 30, 100)), slow=st.sampled_from((0, 20, 60)))
    def be_unwell(self, failing: int, slow: int) -> None:
        self.house.trouble.failing, self.house.trouble.slow = failing, slow

    @rule(number=some)
    def haunt(self, number: int) -> None:
        self.house.within(lambda: self.line.haunt(number))

    @rule()
    def lose_line(self) -> None:
        self.house.within(self.line.lose)

    @rule()
    def have_line(self) -> None:
        self.house.within(self.line.come_back)

    @rule(user=users)
    def swallow(self, user: str) -> None:
        """Something isn't heard, and nobody knows."""
        self.house.within(lambda: self.post.put([user], 0))
        self.line.stale += self.line.waiting
        self.line.waiting.clear()

    @rule(refilled=st.booleans())
    def wipe(self, refilled: bool) -> None:
        """The fast store is started anew: what the slow one hasn't got yet is nowhere, and nothing is heard."""
        self.house.within(self.line.lose)
        self.post.wipe()
        if refilled:
            self.house.within(self.post.refill)

    @rule(user=users, many=st.integers(1, 8))
    def expire(self, user: str, many: int) -> None:
        self.post.expire(user, many)

    # -- what must be so

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        """Sockets look at each frame; what they find is raised where they are told."""
        assert self.house.errors == [], self.house.errors

    def teardown(self) -> None:
        try:
            self.house.calm()
            self._all_is_told()
            self._what_comes_is_heard_at_once()
            self._what_was_missed_is_looked_for_as_soon_as_the_line_is_there()
            self._nobody_is_left()
            self.nothing_is_out_of_order()
        finally:
            self.house.close()

    def _all_is_told(self) -> None:
        for ear in self.house.here:
            written = self.post.written[ear.user]
            assert ear.attached
            assert ear.cursor is not None
            assert ear.cursor >= (written[-1].cursor if written else 0), (ear.user, ear.cursor)
            assert ear.live is True

    def _what_comes_is_heard_at_once(self) -> None:
        self.house.within(lambda: self.post.put(USERS, 0))
        self.house.within(lambda: self.line.deliver(100))
        self._all_is_told()

    def _what_was_missed_is_looked_for_as_soon_as_the_line_is_there(self) -> None:
        self.house.within(self.line.lose)
        self.house.within(lambda: self.post.put(USERS, 0))
        self.house.within(self.line.come_back)
        for ear in self.house.here:
            assert ear.cursor == self.post.written[ear.user][-1].cursor

    def _nobody_is_left(self) -> None:
        watched = {ear.user for ear in self.house.here}
        assert set(self.line.listeners) == watched
        assert len(self.house.hub) == len(watched)
        for ear in self.house.here:
            self.house.within(ear.leave)
        assert len(self.house.hub) == 0
        assert self.line.listeners == {}
        self.house.within(lambda: self.post.put(USERS, 0))


TestTelling = Telling.TestCase
TestTelling.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture
def house() -> Iterator[House]:
    found = House(USERS)
    yield found
    assert found.errors == []
    found.close()


def test_what_no_line_tells_of_comes_to_light_within_a_round(house: House) -> None:
    house.within(lambda: house.post.put(USERS, 0))
    ears = [house.come(user, None) for user in USERS]
    house.within(lambda: house.post.put(USERS, 0))
    house.line.waiting.clear()
    house.loop.advance(ROUND + 0.1)
    assert [ear.told for ear in ears] == [2, 2]


def test_what_the_slow_store_gets_after_the_fast_one_has_forgotten_it_is_told(house: House) -> None:
    """Nothing comes for this inbox any more, so nobody puts it into the fast store again."""
    ear = house.come("ada", 0)
    house.line.lose()
    house.within(lambda: house.post.put(["ada"], 0))
    house.post.wipe()
    house.within(house.line.come_back)
    house.loop.advance(3 * ROUND)
    assert ear.told == 0
    house.within(house.post.keep)
    house.loop.advance(3 * ROUND)
    assert ear.told == 1


def test_a_look_that_failed_is_had_once_more(house: House) -> None:
    ear = house.come("ada", 0)
    house.line.lose()
    house.within(lambda: house.post.put(["ada"], 0))
    house.within(house.post.keep)
    house.post.wipe()
    house.post.far.down = True
    house.within(house.line.come_back)
    house.loop.advance(40 * ROUND)
    house.post.far.down = False
    house.loop.advance(2 * ROUND)
    assert ear.told == 1


def test_what_isnt_held_is_looked_for_less_and_less_often(house: House) -> None:
    house.come("ada", 0)
    looks = 0
    after = house.post.far.after

    async def counting(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return await after(*args)

    house.post.far.after = counting
    house.loop.advance(100 * ROUND)
    assert looks == 7


def test_whoever_has_missed_much_is_told_all_of_it_page_after_page(house: House) -> None:
    """More than the fast store holds; also where the line was lost for as long."""
    for number in range(30):
        house.within(lambda: house.post.put(["ada"], 0))
        if number == 10:
            ear = house.come("ada", 0)
            house.line.lose()
    house.within(house.post.keep)
    late = house.come("ada", 1)
    assert late.told == 29
    house.within(house.line.come_back)
    house.loop.advance(0.5)
    assert ear.told == 30


def test_a_store_that_is_behind_a_client_tells_nobody_twice(house: House) -> None:
    """One was told all of it by the fast store, which has forgotten it since; then another one comes, who has less."""
    first = house.come("ada", 0)
    house.within(lambda: house.post.put(["ada"], 0))
    house.within(house.post.keep)
    house.within(lambda: house.post.put(["ada"], 0))
    house.within(lambda: house.line.deliver(10))
    house.post.wipe()
    late = house.come("ada", 0)
    house.loop.advance(PATIENCE + 1.0)
    assert (late.closed, late.reason) == (True, "behind")
    late = house.come("ada", late.cursor)
    house.within(house.post.keep)
    house.loop.advance(1.0)
    assert (first.told, late.told, late.closed) == (2, 1, False)


def test_one_that_has_more_than_the_others_waits_for_them(house: House) -> None:
    """Its cursor is of another process's telling, and the stores don't have that much (any more) for now."""
    first = house.come("ada", 0)
    house.line.lose()
    house.within(lambda: house.post.put(["ada"], 0))
    house.post.wipe()
    ahead = house.come("ada", 1)
    house.loop.advance(0.5)
    house.within(house.post.refill)
    house.loop.advance(0.5)
    assert (first.told, ahead.told) == (1, 0)
    house.within(house.line.come_back)
    house.within(lambda: house.post.put(["ada"], 0))
    house.within(lambda: house.line.deliver(10))
    assert (first.told, ahead.told) == (2, 1)


def test_in_another_log_everybody_is_told_where_it_begins(house: House) -> None:
    """Also those who were there before the one that finds out."""
    first = house.come("ada", 0)
    house.within(lambda: house.post.put(["ada"] * 3, 0))
    house.within(lambda: house.line.deliver(10))
    house.line.lose()
    house.within(house.post.begin_anew)
    house.within(lambda: house.post.put(["ada"], 0))
    late = house.come("ada", 3, epoch=1)
    house.loop.advance(0.5)
    assert [name for name, _ in first.heard] == ["inbox", *["message"] * 3, "live", "inbox", "message"]
    assert first.heard[-2][1]["recovered"] is late.heard[0][1]["recovered"] is False
    assert first.heard[-1] == late.heard[-1]
    assert first.heard[-1][1]["cursor"] == "2-1"


def test_what_another_log_has_is_no_sequel(house: House) -> None:
    """Its first entry has a higher cursor than was told, by chance, and there is more in it than is heard."""
    first = house.come("ada", 0)
    house.within(lambda: house.post.put(["ada"] * 3, 0))
    house.within(lambda: house.line.deliver(10))
    house.within(house.post.begin_anew)
    house.within(lambda: house.post.put(["ada"], 3))
    house.line.waiting.clear()
    house.within(lambda: house.post.put(["ada"], 0))
    house.within(lambda: house.line.deliver(10))
    assert [data["cursor"] for _, data in first.heard[4:]] == ["2-0", "2-1", "2-5"]
