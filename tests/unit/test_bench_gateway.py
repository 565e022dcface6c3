"""`bench gateway` without its servers: what is sent, what counts as an answer, and what a report comes to."""

import http.client
import shutil
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from bench.gateways import load, report
from bench.gateways.asks import Answer, Ask, exchange, request, sample
from bench.gateways.crowd import MESSAGES, TEXT, TIER, Crowd, Talk
from bench.gateways.entrants import NAMES, asks, entrants
from bench.gateways.generator import AnswerError, length_of
from bench.rig import BenchError
from devconnect.cli.bench import GATEWAYS
from devconnect.replay.account import Account


def turn(rate: float, p50: float = 1.0, p99: float = 4.0, generator: float = 0.5) -> report.Turn:
    return report.Turn(
        requests_per_second=rate,
        p50_ms=p50,
        p99_ms=p99,
        requests=100,
        seconds=1.0,
        server_us=50.0,
        server_share=1.0,
        generator_share=generator,
        machine_share=0.8,
    )


def test_a_gateways_figures_are_medians_and_its_ratios_are_to_its_floors() -> None:
    me = report.summed_up([turn(50.0, 2.0, 9.0), turn(60.0, 1.0, 4.0), turn(90.0, 3.0, 6.0)])
    assert (me.requests_per_second, me.p50_ms, me.p99_ms) == (60.0, 2.0, 6.0)
    assert me.spread == pytest.approx(40 / 60)
    results = {
        "hello": report.summed_up([turn(100.0)]),
        "ours_me": me,
        "ours_command": report.Result(failure="it was answered 201"),
        "produce": report.summed_up([turn(20.0)]),
    }
    assert report.ratios(results) == {"ours_me / hello": report.Held(ratio=0.6, aim=0.55)}
    assert report.tails(results) == {"ours_me": report.Held(ratio=3.0, aim=5.0)}


def test_a_generator_that_was_the_bottleneck_is_told() -> None:
    results = {"hello": report.summed_up([turn(1.0, generator=0.95)]), "produce": report.summed_up([turn(1.0)])}
    (warning,) = report.busy(results)
    assert warning.startswith("hello: the generator took 95% of a processor")


def test_answers_are_taken_apart_where_they_end_and_nothing_is_guessed() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello"
    assert length_of(answer) == len(answer)
    assert length_of(answer.lower() + b"more") == len(answer)
    assert length_of(answer[:30]) is None
    with pytest.raises(AnswerError):
        length_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 5")


def test_wrk_is_given_the_very_bytes() -> None:
    script = load.lua((b'GET /"\\ HTTP/1.1\r\n\r\n', b"\xff9"))
    assert '"GET /\\034\\092 HTTP/1.1\\013\\010\\013\\010",\n"\\2559"\n' in script


class Server(socketserver.ThreadingTCPServer):
    """Answers requests with `answers`, in turn, and counts them by their first lines."""

    daemon_threads = True

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.seen = cycle(answers), Counter[bytes]()
        self.port: int = self.server_address[1]


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        while line := self.rfile.readline():
            http.client.parse_headers(self.rfile)
            self.server.seen[line.strip()] += 1
            self.wfile.write(next(self.server.answers))


@contextmanager
def serving(*answers: bytes) -> Iterator[Server]:
    with Server(answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\n" + b'{"code":"broken"}'


#: Those that this machine has.
GENERATORS: tuple[load.Generator, ...] = ("own", "wrk") if shutil.which("wrk") else ("own",)


def job(port: int, *requests: bytes) -> load.Load:
    return load.Load(port=port, requests=requests, connections=2, seconds=0.2)


@pytest.mark.parametrize("generator", GENERATORS)
def test_all_requests_are_sent_in_turn_and_their_answers_counted(tmp_path: Path, generator: load.Generator) -> None:
    with serving(OK) as server:
        found = load.run(generator, job(server.port, request("GET", "/a", {}), request("GET", "/b", {})), tmp_path)
    assert set(server.seen) == {b"GET /a HTTP/1.1", b"GET /b HTTP/1.1"}
    assert 0 < found.requests <= sum(server.seen.values()) <= found.requests + 2
    assert max(server.seen.values()) - min(server.seen.values()) <= 1
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.processor > 0


@pytest.mark.parametrize("generator", GENERATORS)
def test_an_error_under_load_is_none_of_the_answers(tmp_path: Path, generator: load.Generator) -> None:
    with serving(OK, BAD) as server, pytest.raises(BenchError, match=r"under load: status [1-9]"):
        load.run(generator, job(server.port, request("GET", "/", {})), tmp_path)


@pytest.mark.parametrize("answer", [OK + b"more", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_what_can_not_be_taken_apart_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    with serving(answer) as server, pytest.raises(BenchError, match="under load: unreadable"):
        load.run("own", job(server.port, request("GET", "/", {})), tmp_path)


def test_a_request_is_checked_by_its_status_and_by_its_answer() -> None:
    def fault(answer: Answer) -> str:
        return "" if answer.body == {} else "this isn't it"

    raw = request("GET", "/v1/me", {})
    with serving(OK) as server:
        assert Ask(raw, 200, fault).check(server.port).status == 200
        with pytest.raises(BenchError, match=r"^GET /v1/me was answered 200, not 202$"):
            Ask(raw, 202, fault).check(server.port)
        with pytest.raises(BenchError, match=r"^GET /v1/me: wrong$"):
            Ask(raw, 200, lambda _: "wrong").check(server.port)
    with serving(BAD) as server, pytest.raises(BenchError, match="was answered 503, not 200 broken"):
        Ask(raw, 200, fault).check(server.port)
    with pytest.raises(BenchError, match="no answer"):
        exchange(server.port, raw)


ADA, BOB = Account("a" * 32, "token-a"), Account("b" * 32, "token-b")
CROWD = Crowd((ADA,), (BOB,), (Talk(ADA, BOB),))
CACHED = {"x-source": "cache"}


def faults(name: str, body: object, headers: dict[str, str] = CACHED) -> str:
    return asks(name, CROWD)[0].fault(Answer(200, headers, body))


def test_every_contender_is_asked_something_and_the_command_line_knows_them() -> None:
    assert [each.name for each in entrants()] == list(NAMES)
    assert set(GATEWAYS) == set(NAMES)
    for name in NAMES:
        for ask in asks(name, CROWD):
            assert ask.raw.count(b"\r\n\r\n") == 1
            assert ask.status == (202 if name in ("produce", "ours_command") else 200)
    for ask in asks("ours_command", CROWD):
        assert b"Prefer: respond-async\r\n" in ask.raw
    assert len(sample([*asks("ours_me", CROWD)] * 100)) <= 9


def test_what_is_wrong_is_never_fast() -> None:
    assert not faults("ours_me", {"id": ADA.user, "tier": TIER})
    assert faults("ours_me", {"id": BOB.user, "tier": TIER})
    assert faults("ours_me", {"id": ADA.user, "tier": "free"})
    assert faults("ours_me", {"id": ADA.user, "tier": TIER}, {"x-source": "database"})
    here = {"user": BOB.user, "online": True, "last_seen": 5}
    assert not faults("ours_presence", {"items": [here]})
    assert faults("ours_presence", {"items": []})
    assert faults("ours_presence", {"items": [{**here, "last_seen": 0}]})
    said = {"sender": ADA.user, "recipient": BOB.user, "text": TEXT}
    assert not faults("ours_history", {"items": [said] * MESSAGES})
    assert faults("ours_history", {"items": [said] * (MESSAGES - 1)})
    assert faults("ours_history", {"items": [{**said, "sender": "c" * 32}] * MESSAGES})
    assert faults("redis_get", {})
    assert faults("ours_command", {})
