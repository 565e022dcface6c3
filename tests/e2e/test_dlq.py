"""Dead letters as an operator has to do with them: listed, tried again in order, dropped; a partition that stops."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devconnect.adapters.kafka.gateway import partition_for
from devconnect.events.base import pair_id
from devconnect.runner.plan import ROOT
from tests.e2e.kafka import letters, produce
from tests.e2e.people import Person, join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

RUN = 5
FLAG = "defect"


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own, whose workers have a defect until `mend`."""
    folder = tmp_path_factory.mktemp("dlq")
    (folder / FLAG).touch()
    found = System(
        folder,
        DEAD_LETTER_RUN=str(RUN),
        COMMAND_WAIT_SECONDS="0.2",
        DEFECT=str(folder / FLAG),
        PYTHONPATH=f"{ROOT / 'tests' / 'e2e' / 'defects'}:{ROOT}",
    )
    try:
        found.start()
        yield found
    finally:
        found.stop()


def dlq(system: System, *arguments: str, status: int = 0) -> str:
    """What `dlq …` prints; it must end with this status, and without a traceback."""
    done = system.cli("dlq", *arguments)
    assert done.returncode == status, (arguments, done)
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def listed(system: System, *arguments: str) -> list[dict[str, Any]]:
    """The letters that `dlq list` shows."""
    found = json.loads(dlq(system, "list", "--json", *arguments))
    assert found["total"] == len(found["items"])
    return list(found["items"])


def agents(system: System) -> list[str]:
    return sorted(letter["agent"] for letter in listed(system))


def restart(system: System, role: str) -> None:
    """The role in a fresh process."""
    system.restarted(role, system.kill(role))


def mend(system: System, *roles: str) -> None:
    """The defect is gone from these roles."""
    Path(system.env["DEFECT"]).unlink(missing_ok=True)
    for role in roles:
        restart(system, role)


def looked_at(system: System, role: str, path: str) -> tuple[int, str]:
    """Status and body of what a worker serves."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.port_of(role)}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def serves(system: System, role: str) -> bool:
    """Whether the role's probes answer at all."""
    try:
        return bool(looked_at(system, role, "/health/live"))
    except OSError:
        return False


def friends(system: System) -> tuple[Person, Person]:
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    return ada, bob


def test_letters_are_listed_retried_in_order_and_dropped(spoiled: System) -> None:
    system = spoiled
    ada, bob = friends(system)
    path = f"/v1/conversations/{bob.user}/messages"
    ada.say(bob, "one")
    for text in ("defect 1", "defect 2", "defect 3"):
        assert ada.send("POST", path, {"text": text}).status == 202
    ada.say(bob, "two unseen")
    ada.say(bob, "three")
    ada.do("PATCH", "/v1/me", {"headline": "unseen"})
    bob.hears(ada, ["one", "two unseen", "three"])
    wait_until(lambda: len(listed(system)) == 7, PATIENCE, "seven letters")

    on_events = [f"{agent}-{topic}-events" for agent in ("notify", "project") for topic in ("message", "user")]
    assert agents(system) == [*["decide-message-commands"] * 3, *on_events]
    first, second, third = (letter["id"] for letter in listed(system, "--agent", "decide-message-commands"))
    assert [first.count(":"), first.count("@")] == [2, 0]
    event = [letter["id"] for letter in listed(system, "--topic", "message-events")]
    assert event == [event[0].split("@")[0] + f"@{agent}-message-events" for agent in ("notify", "project")]
    whole = json.loads(dlq(system, "show", second, "--json"))
    assert (whole["cause"], whole["key"]) == ("ArithmeticError: a defect at defect", pair_id(ada.user, bob.user))
    assert json.loads(whole["value"])["text"] == "defect 2"
    assert "defect 2" in dlq(system, "show", second)
    assert first in dlq(system, "list")

    mend(system, "commands", "projections", "notifications")
    assert f"{first}@decide-message-commands of the same key" in dlq(system, "retry", second, status=1)
    dlq(system, "drop", third)
    # As a retry that was killed between its append and its mark has left it: the command is there, the letter open.
    value = json.loads(dlq(system, "show", first, "--json"))["value"]
    produce(system, "message-commands", whole["key"], [value.encode()])
    assert dlq(system, "retry", second, "--with-earlier") == "2 retried, 0 refused\n"
    bob.hears(ada, ["one", "two unseen", "three", "defect 1", "defect 2"])
    assert "retried already" in dlq(system, "retry", second, status=1)
    assert "dropped already" in dlq(system, "drop", third, status=1)

    def told() -> int:
        return sum("message" in item["about"] for item in bob.items("/v1/me/notifications"))

    assert bob.read(f"/v1/users/{ada.user}")["headline"] == ""
    wait_until(lambda: told() == 4, PATIENCE, "all but the one of `two unseen`")
    assert dlq(system, "retry", "--all") == "4 retried, 0 refused\n"
    wait_until(lambda: told() == 5, PATIENCE, "all of them")
    card = bob.send("GET", f"/v1/users/{ada.user}")
    assert (card.body["headline"], card.source) == ("unseen", "cache")
    assert bob.texts(ada) == ["one", "two unseen", "three", "defect 1", "defect 2"]
    assert listed(system) == []
    assert [letter["state"] for letter in listed(system, "--all")].count("retried") == 6
    assert dlq(system, "list") == "no letters\n"


def test_a_partition_full_of_garbage_stops_alone_and_goes_on_when_it_is_allowed(spoiled: System) -> None:
    system = spoiled
    ada, bob = friends(system)
    partitions = system.settings.partitions
    own = partition_for(pair_id(ada.user, bob.user), partitions)
    key = next(name for name in map(str, range(1000)) if partition_for(name, partitions) != own)
    before = len(listed(system))
    places = produce(system, "message-commands", key, [b"garbage"] * 3 * RUN)
    partition, last = places[0].partition, places[-1].offset

    def stopped() -> bool:
        status, body = looked_at(system, "commands", "/health/ready")
        at = f"decide-message-commands has stopped message-commands-{partition} at {places[RUN].offset}"
        return status == 503 and at in body

    wait_until(stopped, PATIENCE, "the stop")
    gauge = f'devconnect_partition_stopped{{agent="decide-message-commands",partition="{partition}"'
    assert gauge in looked_at(system, "commands", "/metrics")[1]
    assert looked_at(system, "commands", "/health/live")[0] == 200
    ada.say(bob, "hello")
    bob.hears(ada, ["hello"])
    assert f"has stopped message-commands-{partition}" in system.output()
    assert len(listed(system)) - before == RUN

    killed = system.kill("commands")
    wait_until(lambda: system.pids().get("commands", killed) != killed, PATIENCE, "another process")
    wait_until(lambda: serves(system, "commands"), PATIENCE, "its probes")
    wait_until(stopped, PATIENCE, "the same stop")
    ada.say(bob, "still here")
    buried = [letter.place for letter in letters(system) if letter.place in places]
    assert buried == places[:RUN], "a restart buries nothing more, and nothing again"

    pids = system.pids()
    dlq(system, "allow", "message-commands", str(partition), "--up-to", str(last))
    wait_until(lambda: looked_at(system, "commands", "/health/ready")[0] == 200, PATIENCE, "ready")
    wait_until(lambda: len(listed(system)) - before == 3 * RUN, PATIENCE, "all of them buried")
    ada.say(bob, "bye")
    bob.hears(ada, ["hello", "still here", "bye"])
    assert system.pids() == pids

    refused = dlq(system, "retry", "--all", "--topic", "message-commands", status=1)
    assert "still can't be decoded" in refused
    assert len(listed(system)) - before == 3 * RUN
    dlq(system, "drop", *(letter["id"] for letter in listed(system, "--topic", "message-commands")))
    assert len(listed(system)) == before


def test_a_changelog_record_that_is_no_row_is_buried_once_and_a_retry_is_refused(spoiled: System) -> None:
    system = spoiled
    topic, agent = "table-user_activity-changelog", "restore-user_activity"
    [place] = produce(system, topic, "m|somebody", [b"no row"])
    for _ in range(2):
        restart(system, "analytics")
        assert [letter.place for letter in letters(system) if letter.agent == agent] == [place]
    [letter] = listed(system, "--agent", agent)
    assert "restart the analytics workers" in dlq(system, "retry", letter["id"], status=1)
    dlq(system, "drop", letter["id"])


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["show", "nonsense"], 1, "nonsense is no id of a letter"),
        (["show", "message-commands:0:999999"], 1, "there is no letter message-commands:0:999999"),
        (["drop", "message-commands:0:999999"], 1, "there is no letter"),
        (["retry"], 2, "say which letters: their ids, or --all"),
        (["retry", "--topic", "message-commands", "message-commands:0:1"], 2, "--topic and --agent go with --all"),
        (["allow", "message-commands", "99", "--up-to", "1"], 1, "has the partitions 0 to 7"),
        (["allow", "nothing", "0", "--up-to", "1"], 2, "'nothing' is not one of"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(spoiled: System, arguments: list[str], status: int, line: str) -> None:
    assert line in dlq(spoiled, *arguments, status=status)


def test_without_kafka_it_says_so(tmp_path: Path) -> None:
    system = System(tmp_path)
    done = system.cli(
        "dlq",
        "list",
        KAFKA_URL="kafka://127.0.0.1:1",
        REDIS_URL="redis://127.0.0.1:1",
        MONGO_URL="mongodb://127.0.0.1:1",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't be reached" in done.stderr
    assert "Traceback" not in done.stderr
