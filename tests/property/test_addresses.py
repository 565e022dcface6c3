"""Whoever has an address keeps it, however their commands are replayed, broken off, or carried out twice at once.

Nobody loses theirs, none has two holders, what was let go of can be taken, and no password goes back to an older one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from agents.commands import DecideCommands
from agents.processing import Slice
from devconnect.domain.model import User
from devconnect.events import commands as c, facts as f
from devconnect.events.topics import USER_COMMANDS
from devconnect.ports.metrics import NoMetrics
from tests.fakes import MemoryAnswers, MemoryProjections, MemoryPublisher, MemoryRecord, MemoryTruth
from tests.property.test_command_agent import AT, Turns, sizes, slow, turns, when_possible

#: Addresses and users are in the partition of their last character, as far as a sign-up looks at it.
ADDRESSES = ("a0", "b0", "c1", "d1")
PARTITIONS = (0, 1)


def partition_of(command: c.AnyCommand) -> int:
    return int(command.key[-1])


def sign_up(number: int, address: str) -> c.SignUp:
    """The user's id is drawn for this command alone, in the partition of the address."""
    user = f"u{number}.{address[-1]}"
    return c.SignUp(id=f"c{number}", actor=user, at=AT, user=user, email=address, password_hash=f"h{number}", name="")


@st.composite
def address_logs(draw) -> list[c.AnyCommand]:
    """People who sign up, change to and fro between a few addresses, and close their accounts."""
    log: list[c.AnyCommand] = [sign_up(0, "a0"), sign_up(1, "c1")]
    asked: list[c.ChangeEmail] = []
    for number in range(2, 2 + draw(st.integers(2, 18))):
        users = [command.user for command in log if isinstance(command, c.SignUp)]
        stamp = {"id": f"c{number}", "actor": draw(st.sampled_from(users)), "at": AT + number}
        address = draw(st.sampled_from(ADDRESSES))
        match draw(st.integers(0, 9)):
            case 0 | 1 | 2:
                log.append(asking := c.ChangeEmail(**stamp, email=address))
                asked.append(asking)
                # Mostly followed at once.
                if draw(st.integers(0, 3)):
                    log.append(_following(asking, f"f{number}"))
            case 3 if asked:
                log.append(_following(draw(st.sampled_from(asked)), f"c{number}"))
            case 4:
                log.append(c.DeleteAccount(**stamp))
            case 5:
                log.append(c.RequestPasswordReset(**stamp, user=stamp["actor"], email=address))
                log.append(c.ResetPassword(**{**stamp, "id": f"f{number}"}, ticket=f"c{number}", password_hash="r"))
            case 6:
                log.append(draw(st.sampled_from(log)))  # a client's retry: the same id
            case _:
                log.append(sign_up(number, address))
    return log


def _following(asking: c.ChangeEmail, name: str) -> c.ConfirmEmail:
    return c.ConfirmEmail(id=name, actor=asking.actor, at=AT, ticket=asking.id, email=asking.email)


class Life(NamedTuple):
    """One process: where it starts before what is committed, its sizes, when it dies, how slow it is."""

    partition: int
    overlap: int
    batch: int
    chunk: int
    dies_after: int
    turns: Sequence[int]


lives = st.builds(
    Life,
    st.sampled_from(PARTITIONS),
    st.integers(0, 8),
    sizes,
    sizes,
    st.one_of(st.integers(0, 40), st.just(10_000)),
    turns,
)


class Town:
    """The stores, two partitions of commands, and a look at the addresses after each effect."""

    def __init__(self, log: Iterable[c.AnyCommand]) -> None:
        self.truth, self.publisher, self.answers = MemoryTruth(), MemoryPublisher(), MemoryAnswers()
        self.truth.hook = self._look
        self.partitions: dict[int, list[c.AnyCommand]] = defaultdict(list)
        self.committed = dict.fromkeys(PARTITIONS, 0)
        for command in log:
            self.partitions[partition_of(command)].append(command)

    def users(self) -> list[User]:
        return [user for user in self.truth.documents.values() if isinstance(user, User) and not user.deleted]

    def _look(self, _: str) -> None:
        users = self.users()
        for user in users:
            held = self.truth.credentials.get(user.email)
            assert held is not None, f"{user.id} has lost {user.email}"
            assert held.user == user.id
        assert len({user.email for user in users}) == len(users)

    async def live(self, life: Life) -> None:
        """Until it dies, or all is done."""
        owner, commands = self._owner(life), self.partitions[life.partition]
        start = max(0, self.committed[life.partition] - life.overlap)
        while start < len(commands):
            end = min(start + life.batch, len(commands))
            records = [MemoryRecord(offset, None, None) for offset in range(start, end)]
            await when_possible(owner, Slice(USER_COMMANDS.name, life.partition, records, commands[start:end]))
            self.committed[life.partition] = max(end, self.committed[life.partition])
            start = end

    def _owner(self, life: Life) -> DecideCommands:
        mortal = Mortal(life)
        return DecideCommands(
            USER_COMMANDS,
            truth=mortal.through(self.truth),
            publisher=mortal.through(self.publisher),
            projections=MemoryProjections(),
            answers=self.answers,
            metrics=NoMetrics(),
            chunk=life.chunk,
        )

    async def one_after_the_other(self, lives: Iterable[Life]) -> None:
        for life in lives:
            await asyncio.gather(self.live(life), return_exceptions=True)

    async def all_at_once(self, lives: Iterable[Life]) -> None:
        """Those of one partition are its owner and some who don't know that they aren't any more."""
        ends = await asyncio.gather(*map(self.live, lives), return_exceptions=True)
        assert not [end for end in ends if end is not None and not isinstance(end, DeadError)], ends

    async def come_to_an_end(self, overlap: int, batch: int, chunk: int) -> None:
        for partition in PARTITIONS:
            await self.live(Life(partition, overlap, batch, chunk, 10_000, (0,)))

    def assert_settled(self) -> None:
        """An address is held by whoever has it and by nobody else, and what opens an account is what was set last."""
        self._look("")
        assert {held.email: held.user for held in self.truth.credentials.values()} == {
            user.email: user.id for user in self.users()
        }
        assert {user: secret.password_hash for user, secret in self.truth.secrets.items()} == self._passwords()
        for user in self.users():
            assert self.truth.secrets[user.id].password_hash

    def _passwords(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for commands in self.partitions.values():
            first: dict[str, c.AnyCommand] = {}
            for command in commands:
                first.setdefault(command.id, command)
            for command in first.values():
                decision = self.truth.stored[command.id]
                if isinstance(command, c.SignUp | c.ResetPassword) and decision.problem is None:
                    found[getattr(command, "user", command.actor)] = command.password_hash
                if any(isinstance(event, f.UserDeleted) for event in decision.events):
                    found[command.actor] = ""
        return found


class DeadError(Exception):
    """What a process of these tests dies of: every call that it makes from then on fails, whoever makes it."""


class Mortal:
    """The way of one process to the stores: slow, and closed after so many calls."""

    def __init__(self, life: Life) -> None:
        self._left = life.dies_after
        self._turns = Turns(life.turns)

    def through(self, store: object) -> object:
        mortal = self

        class Through:
            def __getattr__(self, name: str) -> object:
                method = getattr(slow(store, mortal._turns), name)

                async def call(*args: object, **options: object) -> object:
                    mortal._left -= 1
                    if mortal._left < 0:
                        raise DeadError
                    found = await method(*args, **options)
                    if mortal._left == 0:
                        raise DeadError
                    return found

                return call

        return Through()


@settings(max_examples=150, deadline=None)
@given(address_logs(), st.lists(lives, max_size=6), sizes, sizes)
def test_crashes_and_replays_take_nobodys_address(log, lives, batch, chunk) -> None:
    town = Town(log)

    async def work() -> None:
        await town.one_after_the_other(lives)
        await town.come_to_an_end(8, batch, chunk)

    asyncio.run(work())
    town.assert_settled()


@settings(max_examples=200, deadline=None)
@given(address_logs(), st.lists(lives, min_size=2, max_size=5), sizes, sizes)
def test_owners_that_come_late_take_nobodys_address(log, lives, batch, chunk) -> None:
    """Several at once on one partition, and on the other; some of them die at any call."""
    town = Town(log)

    async def work() -> None:
        await town.all_at_once(lives)
        # What one that came late had reserved, and died over, is let go of by the replay.
        await town.come_to_an_end(1_000, batch, chunk)

    asyncio.run(work())
    town.assert_settled()


@settings(max_examples=50, deadline=None)
@given(address_logs(), sizes, sizes, sizes, sizes)
def test_all_that_ever_was_can_be_replayed(log, batch, chunk, batch_again, chunk_again) -> None:
    town = Town(log)

    async def work() -> None:
        await town.come_to_an_end(0, batch, chunk)
        before = dict(town.truth.credentials), dict(town.truth.secrets), dict(town.truth.documents)
        await town.come_to_an_end(1_000, batch_again, chunk_again)
        assert before == (town.truth.credentials, town.truth.secrets, town.truth.documents)

    asyncio.run(work())
    town.assert_settled()


@settings(max_examples=50, deadline=None)
@given(address_logs(), sizes, sizes)
def test_what_nobody_has_can_be_taken(log, batch, chunk) -> None:
    town = Town(log)
    asyncio.run(town.come_to_an_end(0, batch, chunk))
    free = set(ADDRESSES) - {user.email for user in town.users()}
    wishes = [sign_up(1_000 + number, address) for number, address in enumerate(ADDRESSES)]
    for wish in wishes:
        town.partitions[partition_of(wish)].append(wish)
    asyncio.run(town.come_to_an_end(0, batch, chunk))
    taken = {wish.email for wish in wishes if town.truth.stored[wish.id].problem is None}
    assert taken == free
    town.assert_settled()


@pytest.mark.parametrize("dies_after", range(12))
def test_an_address_that_is_taken_back_stays_over_each_replay(dies_after: int) -> None:
    """What the seq of a reservation is for: to another address and back, broken off anywhere, replayed step by step."""
    log: list[c.AnyCommand] = [sign_up(0, "a0")]
    for name, address in (("c2", "a0"), ("c3", "b0"), ("c4", "a0")):
        asking = c.ChangeEmail(id=name, actor="u0.0", at=AT, email=address)
        log += [asking, _following(asking, f"f{name}")]
    town = Town(log)

    async def work() -> None:
        await town.one_after_the_other([Life(0, 0, 10, 10, dies_after, (0,))])
        for overlap in range(8):
            await town.come_to_an_end(overlap, 1, 1)

    asyncio.run(work())
    assert [user.email for user in town.users()] == ["a0"]
    town.assert_settled()
