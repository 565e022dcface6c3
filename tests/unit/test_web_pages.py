"""The pages for people: they load nothing from elsewhere, say what they are, and every link of them leads somewhere."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.web_house import House, gateway
from web.console.pages import kind_of, text_of
from web.problems import PROBLEMS

ASSETS = Path(__file__).parents[2] / "web" / "console" / "assets"
PATHS = [
    "/docs",
    "/docs/sockets",
    "/problems",
    *(f"/problems/{code}" for code in PROBLEMS),
    "/verify-email",
    "/reset-password",
]
#: Elements that have no end.
EMPTY = frozenset(("meta", "link", "input", "br"))


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, name: str) -> list[str]:
        """The values of an attribute, wherever it is."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def tags(self, *names: str) -> list[dict[str, str]]:
        """The attributes of these elements."""
        return [attributes for tag, attributes in self.elements if tag in names]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with gateway() as found:
        yield found


async def read(house: House, path: str) -> Page:
    answer = await house.ask("GET", path)
    assert answer.status == 200
    return Page(answer.text)


async def test_pages_may_load_and_ask_nothing_but_our_own(house: House) -> None:
    for path in PATHS:
        answer = await house.ask("GET", path)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        page = Page(answer.text)
        assert not page.tags("style", "iframe", "object", "base")
        assert all(attributes["src"].startswith("/assets/") for attributes in page.tags("script"))
        assert not {name for _, attributes in page.elements for name in attributes if name.startswith("on")}
        assert not page.all("style")


@pytest.mark.parametrize("name", ["style.css", "links.js", "icon.svg"])
def test_what_pages_load_loads_nothing_itself(name: str) -> None:
    text = (ASSETS / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert all(sign not in text for sign in ("http:", "https:", "//cdn", "@import", "url(", "eval("))


async def test_every_link_leads_somewhere(house: House) -> None:
    places: dict[str, set[str]] = {}
    wanted: set[tuple[str, str]] = set()
    for path in PATHS:
        page = await read(house, path)
        ids = page.all("id")
        assert len(ids) == len(set(ids)), path
        places[path] = set(ids)
        for link in page.all("href") + page.all("src"):
            there, _, place = link.partition("#")
            assert there == "" or there.startswith("/"), link
            wanted.add((there or path, place))
    for there, place in wanted:
        if there not in places:
            assert (await house.ask("GET", there)).status == 200, there
        assert not place or place in places[there], (there, place)


async def test_pages_are_to_be_read_by_everybody(house: House) -> None:
    for path in PATHS:
        page = await read(house, path)
        assert page.tags("html") == [{"lang": "en"}]
        assert len(page.tags("main")) == len(page.tags("title")) == len(page.tags("h1")) == 1
        levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        assert page.elements[page.elements.index(("body", {})) + 1] == ("a", {"class": "skip", "href": "#main"})
        labelled = {attributes.get("for", "") for attributes in page.tags("label")}
        for attributes in page.tags("input"):
            # A box is inside of its label.
            assert attributes["type"] == "checkbox" or attributes["id"] in labelled
        assert all(attributes.get("aria-label") for attributes in page.tags("nav"))
        assert all(attributes.get("scope") for attributes in page.tags("th"))


async def test_a_page_of_a_link_asks_for_what_a_password_must_be() -> None:
    async with gateway(password_min=20) as house:
        page = await read(house, "/reset-password")
        [field] = [attributes for attributes in page.tags("input") if attributes["type"] == "password"]
        assert (field["minlength"], field["maxlength"], field["autocomplete"]) == ("20", "256", "new-password")
        assert field["aria-describedby"] in page.all("id")


async def test_no_page_is_made_of_what_is_asked_for(house: House) -> None:
    answer = await house.ask("GET", "/problems/%3Cscript%3E")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "script" not in answer.text
    assert (await house.ask("GET", "/assets/..%2Fpages.py")).status == 404


def test_descriptions_are_texts_with_code_and_nothing_else() -> None:
    assert str(text_of("a `b < c` & <d>")) == "a <code>b &lt; c</code> &amp; &lt;d&gt;"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "minLength": 1, "maxLength": 2000}, "string of 1 to 2,000 characters"),
        ({"type": "string", "maxLength": 5}, "string of at most 5 characters"),
        ({"type": "integer", "minimum": 1}, "integer, at least 1"),
        ({"type": "integer", "minimum": 1, "maximum": 200}, "integer, 1 to 200"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Card"}}, "list of Card"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["older", "newer"]}, "older | newer"),
        ({}, "anything"),
    ],
)
def test_schemas_are_told_in_words(schema: dict[str, Any], words: str) -> None:
    assert kind_of(schema) == words
