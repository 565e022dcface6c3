"""The replay against a gateway in memory: each command takes effect once, in its pair's order, whatever goes wrong."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from devconnect.cli.replay import replay as replay_command
from devconnect.domain.allowances import Quota
from devconnect.replay import analyst, client, people, plan, trace
from devconnect.replay.account import Account
from devconnect.replay.client import Gateway, LimitedError, RefusedError, UnreachableError
from devconnect.replay.limits import LIMITS
from devconnect.replay.report import Summary
from devconnect.replay.session import Options, replay
from devconnect.runner.plan import ROOT
from devconnect.settings import Settings
from tests.unit.replay_gateway import FakeGateway, Fault

ROWS = 200


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but the tests waits here, so the pauses between two looks may be short."""
    monkeypatch.setattr(analyst, "LOOK", 0.02)
    monkeypatch.setattr(client, "PAUSE", 0.02)
    monkeypatch.setattr(client, "POLL", 0.02)


@asynccontextmanager
async def serving(fake: FakeGateway) -> AsyncIterator[str]:
    runner = web.AppRunner(fake.app(), access_log=None)
    await runner.setup()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await runner.cleanup()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """People who meet each other over and over, now one first and now the other."""
    rows = []
    for number in range(ROWS):
        one, other = number * 7 % 12, (number * 5 + 1 + number // 12) % 12
        rows.append(f"{1000 + number}\tP{one}\tP{other if one != other else (one + 1) % 12}\tG{one % 3}\tG1\n")
    path = tmp_path / "trace"
    path.write_text("".join(rows))
    return path


async def play(fake: FakeGateway, file: Path, *, settle: float = 5.0, concurrency: int = 8) -> Summary:
    async def promote(email: str) -> None:
        assert email in fake.users

    async with serving(fake) as url:
        options = Options(file=file, url=url, settle=settle, patience=5.0, concurrency=concurrency)
        expected = plan.tally(trace.read(file))
        return await replay(options, expected, promote, lambda: None, lambda text: None)


async def test_a_whole_trace_comes_out_exactly(file: Path) -> None:
    fake = FakeGateway()
    summary = await play(fake, file)
    assert summary.equal, summary
    assert (summary.rows, summary.users, summary.retried, summary.pending) == (ROWS, 12, 0, 0)
    assert summary.requests == 2 * 12 + 2 * summary.connections + summary.messages
    assert 0 < summary.p50_ms <= summary.p99_ms


@pytest.mark.parametrize("fault", ["503", "202", "drop", "lost"])
async def test_each_command_takes_effect_once_when_every_third_goes_wrong(file: Path, fault: str) -> None:
    fake = FakeGateway(lambda number: fault if number % 3 == 0 else None)
    summary = await play(fake, file)
    assert summary.equal, summary
    assert (summary.pending if fault == "202" else summary.retried) > 50


async def test_messages_of_a_pair_keep_the_order_of_the_file(file: Path) -> None:
    faults: dict[int, Fault] = {number: "503" for number in range(1, 1000, 4)}
    fake = FakeGateway(faults.get)
    await play(fake, file)
    names = {user["id"]: user["name"] for user in fake.users.values()}
    sent: dict[frozenset[str], list[str]] = {}
    for sender, recipient in fake.messages:
        sent.setdefault(frozenset((names[sender], names[recipient])), []).append(names[sender])
    due: dict[frozenset[str], list[str]] = {}
    for step in plan.steps(trace.read(file)):
        if not step.connects:
            due.setdefault(step.pair, []).append(step.meeting.first)
    assert sent == due


async def test_people_sign_up_once_with_their_group_as_a_skill(file: Path) -> None:
    fake = FakeGateway()
    await play(fake, file, concurrency=64)
    found = [user for user in fake.users.values() if user["name"].startswith("P")]
    assert len(found) == len({user["name"] for user in found}) == 12
    assert {user["skills"][0] for user in found} <= {"G0", "G1", "G2"}


async def test_few_accounts_are_opened_at_once_since_each_is_an_attempt_until_it_has_succeeded(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "OPENING", 3)
    fake = FakeGateway()
    post, under_way, most = fake.post, Counter[str](), 0

    async def slowly(request: web.Request) -> web.StreamResponse:
        nonlocal most
        path = request.match_info["path"]
        under_way[path] += 1
        most = max(most, under_way["users"] + under_way["sessions"])
        await asyncio.sleep(0.01)
        under_way[path] -= 1
        return await post(request)

    fake.post = slowly
    assert (await play(fake, file, concurrency=64)).equal
    assert most == 3


def double(table: str, rows: list[dict[str, int]]) -> None:
    if table == "user_activity" and rows:
        rows[0]["messages_sent"] += 1


def lose(table: str, rows: list[dict[str, int]]) -> None:
    if table == "events_by_type":
        for row in rows:
            row["count"] -= row["type"] == "message.sent"


@pytest.mark.parametrize(("skew", "table"), [(double, "user_activity"), (lose, "events_by_type")])
async def test_a_table_that_counts_wrong_is_told(file: Path, skew: Callable[..., None], table: str) -> None:
    fake = FakeGateway()
    started = iter(range(10**9))

    def late(name: str, rows: list[dict[str, int]]) -> None:
        # Wrong only once the snapshot is taken, or the difference would be part of it.
        if next(started) > 12:
            skew(name, rows)

    fake.skew = late
    summary = await play(fake, file, settle=0.5)
    assert not summary.equal
    assert table in {each.table for each in summary.differences}


async def test_what_was_there_before_does_not_count(file: Path) -> None:
    fake = FakeGateway()
    assert (await play(fake, file)).equal
    assert (await play(fake, file)).equal, "the people of a second run are other people"


async def test_a_refused_row_is_told_with_its_line_and_the_others_go_on(file: Path) -> None:
    fake = FakeGateway()
    refuse = fake.message
    turns = iter(range(10**9))
    fake.message = lambda me, other: (
        (403, {"code": "not_connected", "status": 403, "detail": "no"}) if next(turns) == 0 else refuse(me, other)
    )
    summary = await play(fake, file, settle=0.5)
    assert (summary.failure_count, summary.failures[0].what) == (1, "message")
    assert "not_connected" in summary.failures[0].why
    assert len(fake.messages) == summary.messages - 1


async def test_a_gateway_that_stays_away_is_an_error_within_the_patience(file: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with aiohttp.ClientSession() as http:
            gateway = Gateway(http, url, concurrency=1, patience=0.6)
            with pytest.raises(UnreachableError, match=url):
                await gateway.command("/v1/users", {})
            assert gateway.measured.retried >= 1


@pytest.mark.parametrize("fault", [None, "202", "lost"])
async def test_tokens_that_are_over_are_renewed_and_each_renewal_token_is_used_once(file: Path, fault: Fault) -> None:
    fake = FakeGateway(lambda number: fault if number % 3 == 0 else None)
    fake.lasts = 5
    summary = await play(fake, file)
    assert summary.equal, summary
    assert fake.events["user.logged_in"] == 12 + 1
    assert max(fake.used.values()) > fake.lasts, "some were over"
    assert len(fake.renewals) == 12 + 1, "each session is the one that was opened at the beginning"


async def test_an_account_whose_session_is_over_is_refused_and_not_renewed_for_ever() -> None:
    fake = FakeGateway()
    async with serving(fake) as url, aiohttp.ClientSession() as http:
        gateway = Gateway(http, url, concurrency=1)
        gone = Account("somebody", "over", "used before")
        with pytest.raises(RefusedError, match="401 not_logged_in"):
            await gateway.command("/v1/connections", {"user": "x"}, gone)
        assert next(fake.posts) == 3, "the command and one renewal"


async def test_limits_that_do_not_let_it_go_on_are_told_at_once_in_the_gateways_words(file: Path) -> None:
    fake = FakeGateway()
    fake.limited = lambda path: (8640, "At most 10 connection requests a day.") if path == "connections" else None
    with pytest.raises(ExceptionGroup) as caught:
        await play(fake, file)
    assert {str(error) for error in caught.value.exceptions} == {"At most 10 connection requests a day."}
    assert all(isinstance(error, LimitedError) for error in caught.value.exceptions)


async def test_the_command_says_in_one_line_what_to_set_where_limits_are_in_the_way(file: Path) -> None:
    fake = FakeGateway()
    fake.tokens["analyst"] = "analyst"
    fake.limited = lambda path: (8640, "At most 10 connection requests a day.") if path == "connections" else None
    async with serving(fake) as url:
        arguments = [str(file), "--url", url, "--analyst-token", "analyst"]
        done = await asyncio.to_thread(CliRunner().invoke, replay_command, arguments)
    assert done.exit_code == 1
    [line] = done.output.splitlines()
    assert line.startswith("Error: the gateway's limits are in the way (At most 10 connection requests a day.): ")
    assert all(f'{name}="{value}"' in line for name, value in LIMITS.items())


async def test_limits_that_are_waited_for_are_told_at_the_end(file: Path) -> None:
    fake = FakeGateway()
    turns = iter(range(10**9))
    fake.limited = lambda path: (0, "At most 20 messages a minute.") if next(turns) % 10 == 0 else None
    summary = await play(fake, file)
    assert summary.equal
    assert summary.limited > 0
    assert f"{summary.limited} requests were answered 429: start the gateway with LIMITS_FREE=" in summary.notes[0]


def test_the_limits_that_are_named_are_settings_that_mean_what_they_must() -> None:
    free = Settings.load(LIMITS).limits_free
    assert (free.requests, free.messages, free.reads) == (Quota(10_000, 60), Quota(10_000, 60), Quota(1_000_000, 60))
    for page in ("README.md", "docs/guide/replay.md"):
        assert all(f'{name}="{value}"' in (ROOT / page).read_text("utf-8") for name, value in LIMITS.items()), page


async def test_a_refusal_names_the_problem() -> None:
    async with serving(FakeGateway()) as url, aiohttp.ClientSession() as http:
        with pytest.raises(RefusedError, match="404 not_found: no such page"):
            await Gateway(http, url, concurrency=1).command("/v1/nowhere", {})


async def test_the_rate_is_kept() -> None:
    async with serving(FakeGateway()) as url, aiohttp.ClientSession() as http:
        gateway = Gateway(http, url, concurrency=8, rate=100)
        began = time.monotonic()
        for number in range(21):
            await gateway.command("/v1/users", {"email": str(number)})
        assert time.monotonic() - began >= 0.199
