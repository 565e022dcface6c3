"""The hub: whatever is lost, late, doubled or down, each socket is told everything once and in order, or that it isn't;
and nobody is left behind."""

from random import Random

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.property.sockets import House
from web.realtime.hub import ROUND

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

    @rule()
    def swallow(self) -> None:
        """Something isn't heard, and nobody knows."""
        self.line.stale += self.line.waiting[:1]
        del self.line.waiting[:1]

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
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
