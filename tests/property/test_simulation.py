"""Crashes, lost acknowledgements, rebalances, owners that don't know that they own nothing any more, repeated commands:
whatever comes after whatever, the fleet comes to what the accepted commands say.

SIMULATION_EXAMPLES is how many fleets are simulated (60), SIMULATION_STEPS how much happens to each (30).
"""

import os
from random import Random

import msgspec
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from devconnect.events import commands as c
from tests.property.gates import Outcome
from tests.property.oracle import assert_alone, assert_exact, assert_same_rows
from tests.property.people import PEOPLE, beginning, connecting, leaving, some_commands
from tests.property.simulation import ROLES, Process, World

roles = st.sampled_from(list(ROLES))
#: One of some things, whichever there are.
some = st.integers(0, 20)
#: What is drawn by the hundred is drawn from this.
seeds = st.integers(0, 2**32).map(Random)
#: How many calls happen, and how many of ten of them go wrong.
calls = st.tuples(seeds, st.integers(20, 150), st.integers(0, 4))
Calls = tuple[Random, int, int]
WRONG: tuple[Outcome, ...] = ("lost", "half", "rest", "down")


class Fleet(RuleBasedStateMachine):
    """The five roles, people who give commands, and everything that can go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.sent: list[c.AnyCommand] = []

    @initialize()
    def begin(self) -> None:
        for role in ROLES:
            self.world.start(role)
        self._send(*beginning())
        self.flow_in_one_role(role="commands")
        self._send(*connecting())

    def _send(self, *commands: c.AnyCommand) -> None:
        for command in commands:
            self.world.send(command)
            self.sent.append(command)

    # -- what people do

    @rule(random=seeds, many=st.integers(1, 20))
    def give_commands(self, random: Random, many: int) -> None:
        for _ in range(many):
            self._send(*some_commands(random, 100 + len(self.sent)))

    @rule(number=some, changed=st.booleans())
    def repeat_a_command(self, number: int, changed: bool) -> None:
        """A client asks again with the same key: for the same thing, or (which is refused) for another one."""
        command = self.sent[-1 - number % len(self.sent)]
        self._send(msgspec.structs.replace(command, fingerprint="other") if changed else command)

    # -- what the fleet does

    @rule()
    def flow(self) -> None:
        """All goes well for a while."""
        while any([self._flow(role) for role in ROLES]):
            pass

    @rule(role=roles)
    def flow_in_one_role(self, role: str) -> None:
        """The others are slow."""
        while self._flow(role):
            pass

    def _flow(self, role: str) -> bool:
        """Whether there was anything to do. What is late of the paused comes after all that the others do."""
        working = False
        for process in self.world.members(role):
            process.run()
            for source in process.sources():
                while process.fetch(source, 8):
                    process.run()
                    working = True
            process.commit()
        for process in self.world.processes[role]:
            process.run()
        return working

    @rule(calls=calls, commit=st.booleans())
    def work(self, calls: Calls, commit: bool) -> None:
        """Commands come in, everybody fetches now and then, and some of the calls happen."""
        random, many, wrong = calls
        everybody = self.world.everybody()
        for _ in range(many):
            if not random.randrange(8):
                self.give_commands(random=random, many=1)
            process = random.choice(everybody)
            for source in process.sources():
                process.fetch(source, random.randint(1, 8))
            if process.gates:
                outcome = random.choice(WRONG) if random.randrange(10) < wrong else "done"
                process.open(random.randrange(100), outcome)
        if commit:
            for process in everybody:
                process.commit()

    @rule(user=st.sampled_from(PEOPLE))
    def read(self, user: str) -> None:
        """A device comes back, and is told what it has missed."""
        self.world.loop.run_until_complete(self.world.post.read(user))

    # -- what goes wrong

    @rule()
    def lose_inboxes(self) -> None:
        """Redis is started anew."""
        self.world.post.near.wipe()

    @rule(number=some, how=st.sampled_from(("kill", "stop", "pause", "nap")), before=calls, after=calls)
    def end_at_work(self, number: int, how: str, before: Calls, after: Calls) -> None:
        """Somebody is killed, stopped or paused in the middle of something; whoever comes next sets to work.

        After a nap the one that was paused joins again.
        """
        everybody = [process for role in ROLES for process in self.world.members(role)]
        process = everybody[number % len(everybody)]
        self.work(calls=before, commit=True)
        self._end(process, how)
        self.work(calls=after, commit=True)
        if how == "nap":
            self._wake(process)
            self.work(calls=after, commit=True)

    def _end(self, process: Process, how: str) -> None:
        if how == "stop":
            process.commit()
        if how in ("pause", "nap"):
            # Its session runs out, and it doesn't know.
            process.member = False
            self.world.rebalance(process.role)
        else:
            self.world.kill(process)
        if not self.world.members(process.role):
            self.world.start(process.role)

    @rule(number=some)
    def wake(self, number: int) -> None:
        """One finds out that its session is over, and joins again."""
        paused = [process for process in self.world.everybody() if not process.member]
        if paused:
            self._wake(paused[number % len(paused)])

    def _wake(self, process: Process) -> None:
        process.member = True
        self.world.rebalance(process.role)

    @rule(role=roles, commit=st.booleans())
    def join(self, role: str, commit: bool) -> None:
        """Another one of a role; where there are enough, nothing but a rebalance."""
        if len(self.world.members(role)) < 3:
            self.world.start(role)
        else:
            self.world.rebalance(role, commit=commit)

    @rule()
    def compact(self) -> None:
        """The broker does it a day later: what is under way has come to its end."""
        self.flow()
        self.world.compact()

    # -- what must be so

    @invariant()
    def nobody_crashes(self) -> None:
        assert not self.world.crashes

    def teardown(self) -> None:
        try:
            if self.sent:
                self._settle()
        finally:
            self.world.close()

    def _settle(self) -> None:
        """All that is under way comes to its end; then all die, and others carry on from what is committed."""
        self.flow()
        assert_exact(self.world)
        assert_same_rows(self.world, self.world.members("analytics"))
        for process in self.world.everybody():
            self.world.kill(process)
        for role in ROLES:
            self.world.start(role)
        self.flow()
        assert_exact(self.world)
        assert_same_rows(self.world, self.world.members("analytics"))
        # Now that nothing is under way, all that is between somebody and others goes with them.
        self._send(leaving(PEOPLE[-1]))
        self.flow()
        assert_exact(self.world)
        assert_alone(self.world, PEOPLE[-1])
        self.nobody_crashes()


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=int(os.environ.get("SIMULATION_EXAMPLES", "60")),
    stateful_step_count=int(os.environ.get("SIMULATION_STEPS", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
