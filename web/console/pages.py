"""Serves the pages. They hold nothing of anybody's, run no script but ours, and load nothing from elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from devconnect import __version__
from devconnect.settings import Settings
from web.answers import encode
from web.openapi import build, problems_of
from web.operations import Operation
from web.problems import PROBLEMS, ProblemError
from web.realtime import asyncapi
from web.realtime.clients import EVENTS

HERE = Path(__file__).parent
ASSETS = {
    "style.css": "text/css; charset=utf-8",
    "links.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
CACHED = "public, max-age=300"
#: What the pages may load: our own style and script, and they may ask our own interface.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Pages:
    """Every page, made once."""

    def __init__(self, operations: Sequence[Operation], settings: Settings) -> None:
        self._count = len(operations)
        self._document = build(operations)
        self._openapi = encode(self._document)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"kind": kind_of, "text": text_of}
        self._users = {code: [one for one in operations if code in problems_of(one)] for code in PROBLEMS}
        self._assets = {name: (HERE / "assets" / name).read_bytes() for name in ASSETS}
        self._reference = self._page("reference.html", "/docs", document=self._document, by_tag=_by_tag(operations))
        told_and_asked = asyncapi.build()
        self._asyncapi = encode(told_and_asked)
        self._sockets = self._page(
            "sockets.html",
            "/docs/sockets",
            document=told_and_asked,
            told=list(asyncapi.TOLD),
            asked={name: event.answer.__name__ for name, event in EVENTS.items()},
        )
        #: The page that lists every problem.
        self.listed = self._page("problems.html", "/problems", problems=PROBLEMS)
        self._links = {
            "verify": self._page("verify.html"),
            "reset": self._page("reset.html", least=settings.password_min),
            "unsubscribe": self._page("unsubscribe.html", done=False),
        }
        #: What who has unsubscribed is told.
        self.unsubscribed = self._page("unsubscribe.html", done=True)

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [
            web.get("/v1/openapi.json", self.openapi),
            web.get("/v1/asyncapi.json", self.asyncapi),
            web.get("/docs", self.reference),
            web.get("/docs/sockets", self.sockets),
            web.get("/problems", self.problems),
            web.get("/problems/{code}", self.problem),
            web.get("/verify-email", self.verify),
            web.get("/reset-password", self.reset),
            web.get("/unsubscribe", self.unsubscribe),
            web.get("/assets/{name}", self.asset),
        ]

    async def openapi(self, _: web.Request) -> web.Response:
        """The OpenAPI document."""
        headers = {"Content-Type": "application/json", "Cache-Control": CACHED}
        return web.Response(body=self._openapi, headers=headers)

    async def asyncapi(self, _: web.Request) -> web.Response:
        """The AsyncAPI document."""
        headers = {"Content-Type": "application/json", "Cache-Control": CACHED}
        return web.Response(body=self._asyncapi, headers=headers)

    async def sockets(self, _: web.Request) -> web.Response:
        """What goes over sockets, to read."""
        return _html(self._sockets)

    async def reference(self, _: web.Request) -> web.Response:
        """The interface, to read."""
        return _html(self._reference)

    async def problems(self, _: web.Request) -> web.Response:
        """Every problem there is."""
        return _html(self.listed)

    async def problem(self, request: web.Request) -> web.Response:
        """One problem: the page that the `type` of an error leads to."""
        code = request.match_info["code"]
        if code not in PROBLEMS:
            raise ProblemError("not_found", "There is no such problem: `/problems` lists those that there are.")
        return _html(self.of(code))

    async def verify(self, _: web.Request) -> web.Response:
        """Where a link that proves an address leads."""
        return _html(self._links["verify"])

    async def reset(self, _: web.Request) -> web.Response:
        """Where a link that sets a password leads."""
        return _html(self._links["reset"])

    async def unsubscribe(self, _: web.Request) -> web.Response:
        """Where a link that ends mails of a kind leads: a button, since programs follow links, too."""
        return form(self._links["unsubscribe"])

    async def asset(self, request: web.Request) -> web.Response:
        """The style, the script and the icon."""
        name = request.match_info["name"]
        if name not in ASSETS:
            raise ProblemError("not_found", "There is nothing at this path: `GET /` tells what there is.")
        headers = {"Content-Type": ASSETS[name], "Cache-Control": CACHED}
        return web.Response(body=self._assets[name], headers=headers)

    def of(self, code: str) -> str:
        """The page of one problem."""
        (status, title), users = PROBLEMS[code], self._users[code]
        is_everywhere = len(users) == self._count
        return self._page(
            "problem.html", code=code, status=status, title=title, users=users, is_everywhere=is_everywhere
        )

    def _page(self, template: str, at: str = "", **values: Any) -> str:
        return self._templates.get_template(template).render(version=__version__, at=at, **values)


def form(text: str) -> web.Response:
    """A page whose form goes to where the page is from, with what is in the address; kept by nobody."""
    policy = POLICY.replace("form-action 'none'", "form-action 'self'")
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _html(text: str) -> web.Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": CACHED}
    return web.Response(text=text, content_type="text/html", headers=headers)


def _by_tag(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.tag, []).append(operation)
    return found


def text_of(description: str) -> Markup:
    """A description, with what is between backticks as code."""
    parts = description.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def kind_of(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema['items'])}" if "items" in schema else "list"
    found = str(schema.get("type", "anything"))
    if found == "string":
        return found + _between(schema.get("minLength"), schema.get("maxLength"), " of ", " characters")
    return found + _between(schema.get("minimum"), schema.get("maximum"), ", ", "")


def _between(least: int | None, most: int | None, before: str, after: str) -> str:
    if most is None:
        return "" if least is None else f"{before}at least {least:,}{after}"
    return f"{before}at most {most:,}{after}" if not least else f"{before}{least:,} to {most:,}{after}"
