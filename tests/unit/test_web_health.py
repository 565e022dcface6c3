"""Health, metrics and the root: what operators look at."""

import asyncio

import pytest

from devconnect import __version__
from tests.unit.web_house import gateway


async def test_the_root_says_what_this_is_and_where_to_go() -> None:
    async with gateway() as house:
        answer = await house.ask("GET", "/")
        assert answer.status == 200
        assert answer.json["version"] == __version__
        assert answer.json["health"] == {"live": "/health/live", "ready": "/health/ready"}
        for path in (answer.json["metrics"], *answer.json["health"].values()):
            assert (await house.ask("GET", path)).status == 200


@pytest.mark.parametrize(
    ("down", "status", "word"),
    [
        ((), 200, "ready"),
        (("redis",), 200, "degraded"),
        (("kafka",), 503, "not ready"),
        (("mongo",), 503, "not ready"),
        (("redis", "mongo"), 503, "not ready"),
    ],
)
async def test_ready_names_each_part(down: tuple[str, ...], status: int, word: str) -> None:
    async with gateway() as house:
        for name in down:
            house.checks[name] = "not reachable"
        answer = await house.ask("GET", "/health/ready")
        assert (answer.status, answer.json["status"]) == (status, word)
        assert answer.json["ready"] is (status == 200)
        assert answer.json["parts"] == {
            name: "not reachable" if name in down else "ok" for name in ("kafka", "redis", "mongo")
        }
        assert (await house.ask("GET", "/health/live")).status == 200


async def test_a_check_that_hangs_or_breaks_is_a_part_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.health.CHECK_SECONDS", 0.01)
    async with gateway() as house:

        async def hangs() -> str | None:
            await asyncio.Event().wait()
            return None

        async def breaks() -> str | None:
            raise OSError("connection refused at 10.0.0.1")

        checks = dict(house.parts.checks)
        monkeypatch.setattr(type(house.parts), "__setattr__", object.__setattr__)
        house.parts.checks = {**checks, "kafka": hangs, "redis": breaks}
        answer = await house.ask("GET", "/health/ready")
        assert answer.json["parts"] == {
            "kafka": "no answer in time",
            "redis": "not reachable: OSError",
            "mongo": "ok",
        }


async def test_requests_are_counted_under_their_template() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        for user in (ada.id, "0" * 32, "nobody"):
            await ada.ask("GET", f"/v1/users/{user}")
        counts = house.metrics.counts
        assert counts["http_requests", "GET", "/v1/users/{user}", "200"] == 1
        assert counts["http_requests", "GET", "/v1/users/{user}", "404"] == 2
        assert house.metrics.observed["http_request_seconds", "GET", "/v1/users/{user}"] == 3
        assert not [labels for labels in counts if ada.id in labels]


async def test_metrics_are_for_prometheus() -> None:
    async with gateway() as house:
        answer = await house.ask("GET", "/metrics")
        assert (answer.status, answer.text) == (200, "up 1\n")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_every_answer_keeps_to_itself() -> None:
    async with gateway() as house:
        for path in ("/", "/v1/me", "/nothing"):
            headers = (await house.ask("GET", path)).headers
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Server"] == "devconnect"
