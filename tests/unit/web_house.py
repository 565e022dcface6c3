"""A gateway on the fakes of `web_fakes`, served, and the people who ask it."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from devconnect.adapters.local.allowances import LocalAllowances
from devconnect.domain.allowances import TIERS, Policies, Quota
from devconnect.domain.model import User
from devconnect.settings import Settings
from tests.fakes import ManualClock
from tests.unit import openapi_check
from tests.unit.web_fakes import (
    KEY,
    PARTITIONS,
    PLENTY,
    VAPID_KEY,
    OneKey,
    PlainPasswords,
    TallyMetrics,
    World,
    WorldDesk,
)
from tests.unit.world_reads import WorldReads
from web.app import create_app
from web.gateway import Parts
from web.reads import Breaker


@dataclass
class House:
    """A gateway on fakes, and a client of it."""

    client: TestClient[Any, Any]
    world: World
    desk: WorldDesk
    cache: WorldReads
    database: WorldReads
    clock: ManualClock
    metrics: TallyMetrics
    passwords: PlainPasswords
    keys: OneKey
    checks: dict[str, str | None]
    parts: Parts

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.client.request(method, path, json=body, headers=headers) as response:
            answer = await Answer.of(response)
        openapi_check.insist(method, path, answer.status, response.headers, answer.json)
        return answer

    async def person(self, name: str, **profile: Any) -> "Person":
        body = {"email": f"{name}@example.com", "password": "correct horse", "name": name, **profile}
        account = await self.ask("POST", "/v1/users", body)
        assert account.status == 201, account
        session = await self.ask("POST", "/v1/sessions", {"email": body["email"], "password": body["password"]})
        assert session.status == 201, session
        opened = session.json
        return Person(self, opened["user"], opened["token"], opened["session"], body["email"], opened["renewal_token"])

    async def friends(self) -> tuple["Person", "Person"]:
        ada, bob = await self.person("ada"), await self.person("bob")
        await ada.ask("POST", "/v1/connections", {"user": bob.id, "interest": "interested"})
        accepted = await bob.ask("POST", f"/v1/connections/{ada.id}/review", {"verdict": "accepted"})
        assert accepted.status == 200, accepted
        return ada, bob

    def give_role(self, user: str, role: str) -> None:
        found = self.world.user(user)
        fields = {name: getattr(found, name) for name in User.__struct_fields__}
        self.world.put(User(**{**fields, "role": role}))


@dataclass(frozen=True)
class Answer:
    """A response, read."""

    status: int
    headers: Mapping[str, str]
    json: Any = field(repr=True)
    text: str = field(repr=False)

    @classmethod
    async def of(cls, response: ClientResponse) -> "Answer":
        text = await response.text()
        is_json = response.content_type.endswith("json")
        return cls(response.status, response.headers, await response.json(content_type=None) if is_json else None, text)


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    house: House
    id: str
    token: str
    session: str
    email: str
    renewal: str

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.house.ask(method, path, body, token=self.token, **more)

    async def logged_in_anew(self) -> "Person":
        """With what an operator has given meanwhile."""
        session = await self.house.ask("POST", "/v1/sessions", {"email": self.email, "password": "correct horse"})
        opened = session.json
        return replace(self, token=opened["token"], session=opened["session"], renewal=opened["renewal_token"])


def ids() -> Iterator[str]:
    """User ids that nobody has."""
    for number in range(1, 1000):
        yield f"{number:032x}"


def is_problem(answer: Answer, status: int, code: str) -> bool:
    """Whether this is that problem, in the shape of the interface."""
    found = answer.json
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    assert found["type"] == f"/problems/{found['code']}"
    assert found["status"] == answer.status
    assert found["title"]
    assert found["detail"]
    if status == 503:
        assert answer.headers["Retry-After"] == "1"
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (answer.status, found["code"]) == (status, code), answer
    return True


@asynccontextmanager
async def gateway(change: Callable[[Parts], Parts] | None = None, **settings: Any) -> AsyncIterator[House]:
    """A gateway on fakes, served."""
    world, clock, metrics, passwords = World(), ManualClock(), TallyMetrics(), PlainPasswords()
    cache, database = WorldReads(world, "cache"), WorldReads(world, "database")
    desk = WorldDesk(world)
    keys = OneKey()
    states: dict[str, str | None] = {"kafka": None, "redis": None, "mongo": None}

    def check(name: str) -> Callable[[], Any]:
        async def look() -> str | None:
            return states[name]

        return look

    parts = Parts(
        cache=cache,
        database=database,
        accounts=world,
        library=world,
        credentials=world,
        commands=world,
        desk=desk,
        ends=world,
        freshness=world,
        allowances=LocalAllowances(),
        breaker=Breaker(clock),
        policies=Policies(**{tier: PLENTY for tier in TIERS}, strangers=Quota(1000, 60)),
        clock=clock,
        metrics=metrics,
        passwords=passwords,
        settings=Settings(data_dir=Path("/nowhere"), partitions=PARTITIONS, **settings),
        keys=keys,
        push_key=VAPID_KEY,
        id_secret=KEY,
        checks={name: check(name) for name in states},
        scrape=lambda: ("text/plain; version=0.0.4; charset=utf-8", b"up 1\n"),
    )
    parts = change(parts) if change else parts
    async with TestClient(TestServer(create_app(parts))) as client:
        yield House(
            client=client,
            world=world,
            desk=desk,
            cache=cache,
            database=database,
            clock=clock,
            metrics=metrics,
            passwords=passwords,
            keys=keys,
            checks=states,
            parts=parts,
        )
