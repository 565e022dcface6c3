"""The official clients against the product: in Node, and in Chromium on a page of another origin."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web

from devconnect.stack.ports import LOOPBACK, pick
from tests.clients.browser import BUNDLE, PAGE, Page, browser, chromium, open_page
from tests.clients.node import installed, node_client
from tests.documents import references
from tests.e2e.gateways import Beside, ask
from tests.e2e.people import PASSWORD, Person
from tests.e2e.system import System
from tests.waiting import PATIENCE

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def beside(system: System) -> Iterator[Beside]:
    found = Beside(system)
    try:
        yield found.start()
    finally:
        found.stop()


# -- Node


async def test_two_clients_in_node_talk_and_come_back_to_what_they_have_missed(
    system: System, pair: tuple[Person, Person], beside: Beside
) -> None:
    ada, bob = pair
    installed()
    async with (
        node_client(system.url, keep=ada.token, transports=["websocket"]) as mine,
        node_client(beside.url, keep=bob.token, transports=["websocket"], reconnectionDelay=100) as other,
    ):
        for each in (mine, other):
            await each.has(lambda each=each: each.events("inbox"))
        for number in range(30):
            payload = {"to": bob.user, "text": f"m{number}", "key": f"k{number}"}
            mine.tell("emit", name="send_message", args=[payload], ack=number + 1)
        for number in range(30):
            ack = await mine.saw("ack", ack=number + 1)
            assert (ack["error"], ack["answer"]["status"], ack["answer"]["result"]["text"]) == (None, 201, f"m{number}")
        said = [f"m{number}" for number in range(30)]
        await other.has(lambda: texts(other.events("message")) == said)
        other.tell("emit", name="mark_read", args=[{"peer": ada.user, "up_to": ack["answer"]["result"]["seq"]}], ack=1)
        assert (await other.saw("ack", ack=1))["answer"]["result"]["unread"] == 0
        await mine.has(lambda: "read" in [told["data"]["state"] for told in mine.events("status")])
        # The server goes, with a word, and what is said meanwhile is there when it is back.
        await asyncio.to_thread(beside.stop)
        await other.saw("event", name="reconnect")
        await other.saw("disconnect")
        for number in range(30, 40):
            said.append(f"m{number}")
            await asyncio.to_thread(ada.say, bob, said[-1])
        await asyncio.to_thread(beside.start)
        await other.has(lambda: len(other.events("inbox")) == 2)
        await other.has(lambda: len(other.events("message")) >= len(said))
        await asyncio.to_thread(ada.say, bob, "live")
        for each in (mine, other):
            await each.has(lambda each=each: "live" in texts(each.events("message")))
            assert texts(each.events("message")) == [*said, "live"]
            ids = [told["data"]["id"] for told in each.events("message")]
            assert len(ids) == len(set(ids))
        assert other.events("inbox")[1]["recovered"] is True


def texts(told: list[Any]) -> list[str]:
    """What these messages say."""
    return [each["data"]["text"] for each in told]


@pytest.mark.parametrize("keep", ["no token", ""])
async def test_a_client_in_node_is_told_why_it_is_not_let_in(system: System, keep: str) -> None:
    async with node_client(system.url, keep=keep or None, transports=["websocket"]) as client:
        refused = await client.saw("connect_error")
        assert refused["data"]["code"] == "not_logged_in"
        assert refused["data"]["detail"] == refused["message"]


async def test_a_client_in_node_whose_session_ends_is_told_so_and_stays_away(
    system: System, pair: tuple[Person, Person]
) -> None:
    ada, _ = pair
    async with node_client(system.url, keep=ada.token, transports=["websocket"]) as client:
        await client.has(lambda: client.events("inbox"))
        await asyncio.to_thread(ada.do, "DELETE", "/v1/sessions/current")
        await client.saw("event", name="session_ended", args=[{}])
        await client.saw("disconnect", reason="io server disconnect")
        client.tell("active")
        await client.saw("active", active=False)


# -- Chromium


@asynccontextmanager
async def site(port: int) -> AsyncIterator[str]:
    """A site with the page and npm's bundle; its address."""

    async def serve(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(BUNDLE if request.path.endswith(".js") else PAGE)

    app = web.Application()
    app.router.add_get("/{name:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{port}"
    finally:
        await runner.cleanup()


async def becomes(look: Callable[[], Any], right: Callable[[Any], Any]) -> Any:
    """What `look` gives once that is right."""
    deadline = time.monotonic() + PATIENCE
    while not right(found := await look()):
        assert time.monotonic() < deadline, str(found)[-1000:]
        await asyncio.sleep(0.05)
    return found


async def test_pages_of_another_origin_talk_with_cookies_and_those_of_a_foreign_one_are_refused(
    system: System, pair: tuple[Person, Person]
) -> None:
    chromium()
    ada, bob = pair
    ours, foreign = pick(), pick()
    gateway = Beside(system, CORS_ORIGINS=f"http://{LOOPBACK}:{ours}")
    try:
        await asyncio.to_thread(gateway.start)
        async with browser() as found, site(ours) as here, site(foreign) as there:
            adas, bobs = [await open_page(found, name, name, here) for name in ("ada", "bob")]
            for page, person in ((adas, ada), (bobs, bob)):
                # Nothing of the session is where scripts could read it.
                assert await page.call("logIn", gateway.url, person.email, PASSWORD) == [201, ""]
                assert await page.call("connect", gateway.url) == "connect"
                assert (await becomes(lambda page=page: page.told("inbox"), bool))[0]["live"] is True
            await talk(adas, bobs, ada, bob)
            # The browser sends the cookies of this host from any page of it; whose page it is, it says too.
            evil = await open_page(found, "evil", "ada", there)
            assert await evil.call("connect", gateway.url) == "websocket error"
            stranger = await open_page(found, "stranger", "nobody", here)
            assert await stranger.call("connect", gateway.url) == "not_logged_in"
    finally:
        await asyncio.to_thread(gateway.stop)


async def talk(adas: Page, bobs: Page, ada: Person, bob: Person) -> None:
    """Messages, typing and presence between two pages."""
    watched = await adas.call("ask", "watch_presence", {"users": [bob.user]})
    assert watched["status"] == 200
    said = []
    for number in range(10):
        page, other = ((adas, bob), (bobs, ada))[number % 2]
        ack = await page.call(
            "ask", "send_message", {"to": other.user, "text": f"\u00e4 {number}", "key": f"k{number}"}
        )
        assert ack["status"] == 201
        said.append(ack["result"])
    for page in (adas, bobs):
        told = await becomes(lambda page=page: page.told("message"), lambda told: len(told) == 10)
        assert [each["data"] for each in told] == said
    assert (await bobs.call("ask", "typing", {"to": ada.user}))["status"] == 200
    [typing] = await becomes(lambda: adas.told("typing"), bool)
    assert (typing["user"], typing["typing"]) == (bob.user, True)
    await bobs.call("leave")

    def gone(told: list[Any]) -> bool:
        return bool(told) and told[-1]["presence"][0]["online"] is False

    await becomes(lambda: adas.told("presence"), gone)


# -- the document


def test_the_document_is_one_of_asyncapi(system: System) -> None:
    folder = installed() / "node_modules" / "@asyncapi" / "specs" / "schemas"
    document = ask(system.url, "GET", "/v1/asyncapi.json").reply.body
    assert document["asyncapi"] == "3.0.0"
    schema = json.loads((folder / "3.0.0.json").read_text("utf-8"))
    jsonschema_rs.validate(schema, document)
    found = list(references(document))
    assert found
    for ref in found:
        assert ref.startswith("#/"), ref
        part: Any = document
        for name in ref[2:].split("/"):
            part = part[name.replace("~1", "/").replace("~0", "~")]
