"""Whatever comes in, what goes out is an answer of ours: a problem with a code, and nothing of our insides."""

import html
import logging
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from devconnect.ports.gateway import BusyError
from devconnect.settings import Settings
from tests.unit.web_house import Answer, House, gateway, is_problem
from web import bodies
from web.console.pages import Pages
from web.logs import JsonLines
from web.openapi import problems_of
from web.problems import PROBLEMS, document
from web.routes import OPERATIONS

#: Problems of requests that are no operation's.
ANYWHERE = {"method_not_allowed", "event_unknown"}


async def post(house: House, data: bytes, content_type: str | None = "application/json", **headers: str) -> Answer:
    sent = {**headers, **({"Content-Type": content_type} if content_type else {})}
    async with house.client.post(
        "/v1/sessions", data=data, headers=sent, skip_auto_headers=["Content-Type"]
    ) as response:
        return await Answer.of(response)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"email": "a@b.de", "password": "x"',
        b'{"email": "a@b.de", "password": "x"} trailing',
        b'{"email": "\xff"}',
        b'{"email": "\\ud800", "password": "x"}',
        b"\x00",
        b"'single'",
        b"{'email': 1}",
    ],
)
async def test_what_is_not_json_is_malformed(data: bytes) -> None:
    async with gateway() as house:
        assert is_problem(await post(house, data), 400, "malformed_json")


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"null", []),
        (b"[]", []),
        (b'"text"', []),
        (b"[" * 30_000, []),
        (b'{"email": 5, "password": "x"}', ["email"]),
        (b'{"email": null, "password": "x"}', ["email"]),
        (b'{"email": ["a@b.de"], "password": "x"}', ["email"]),
        (b'{"email": "a@b.de", "password": "x", "admin": true}', ["admin"]),
        (b'{"email": "a@b.de", "password": ""}', ["password"]),
        (b'{"password": "x"}', ["email"]),
        (b"{}", ["email"]),
    ],
)
async def test_json_of_another_shape_is_invalid_and_the_field_is_named(data: bytes, fields: list[str]) -> None:
    async with gateway() as house:
        answer = await post(house, data)
        assert is_problem(answer, 400, "invalid_body")
        assert [error["field"] for error in answer.json.get("errors", [])] == fields


async def test_a_field_too_long_is_told_what_is_allowed() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        path = f"/v1/conversations/{bob.id}/messages"
        assert (await ada.ask("POST", path, {"text": "x" * 4000})).status == 201
        for text in ("x" * 4001, "", " \n\t ", "\u00a0\u2003", "\u0000", "\u0085\ufeff"):
            answer = await ada.ask("POST", path, {"text": text})
            assert is_problem(answer, 400, "invalid_body")
            assert answer.json["errors"][0]["field"] == "text"
        assert "4000" in (await ada.ask("POST", path, {"text": "x" * 4001})).json["errors"][0]["message"]
        for up_to in (0, -1, 2**53, 1.5, 1e300, -1.0, True, "1", None):
            answer = await ada.ask("POST", f"/v1/conversations/{bob.id}/read", {"up_to": up_to})
            assert is_problem(answer, 400, "invalid_body")
            assert answer.json["errors"][0]["field"] == "up_to"


async def test_a_whole_number_is_one_however_it_is_written() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        said = (await ada.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": "hello"})).json
        path = f"/v1/conversations/{ada.id}/read"
        assert (await bob.ask("POST", path, {"up_to": float(said["seq"])})).json["read"] == said["seq"]
        answer = await bob.ask("POST", path, {"up_to": 1.0, "other": 1})
        assert is_problem(answer, 400, "invalid_body")
        assert answer.json["errors"][0]["field"] == "other"


async def test_a_text_is_blank_or_a_skill_is_long_and_that_is_said() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        for body, field, message in (
            ({"name": " \u0000 "}, "name", "must not be blank"),
            ({"skills": ["python", "\t"]}, "skills", "must not be blank"),
            ({"skills": ["x" * 51]}, "skills", "50"),
            ({"photo_url": "ftp://example.com/ada"}, "photo_url", "http"),
        ):
            answer = await ada.ask("PATCH", "/v1/me", body)
            assert is_problem(answer, 400, "invalid_body")
            [error] = answer.json["errors"]
            assert error["field"].partition("[")[0] == field
            assert message in error["message"]
        answer = await ada.ask("GET", "/v1/presence?users=ada" + 40 * "a")
        assert answer.json["errors"][0]["message"] == "is 1 to 200 user ids, with commas between them"


async def test_a_body_has_at_most_64_kib() -> None:
    async with gateway() as house:
        data = b'{"email": "a@b.de", "password": "' + b"x" * (64 * 1024) + b'"}'
        assert is_problem(await post(house, data), 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_another_content_type_is_unsupported(content_type: str | None) -> None:
    async with gateway() as house:
        answer = await post(house, b'{"email": "a@b.de", "password": "x"}', content_type)
        assert is_problem(answer, 415, "unsupported_media_type")


async def test_json_with_its_charset_is_fine() -> None:
    async with gateway() as house:
        answer = await post(house, b'{"email": "a@b.de", "password": "x"}', "application/json; charset=UTF-8")
        assert is_problem(answer, 401, "wrong_credentials")


async def test_a_body_whose_coding_is_broken_is_malformed() -> None:
    async with gateway() as house:
        answer = await post(house, b"no gzip", **{"Content-Encoding": "gzip"})
        assert is_problem(answer, 400, "malformed_request")


async def test_unknown_paths_and_methods() -> None:
    async with gateway() as house:
        for path in ("/nothing", "/v1", "/v1/", "/v1/me/", "/v2/me", "/v1/users//", "/../etc/passwd"):
            assert is_problem(await house.ask("GET", path), 404, "not_found"), path
        for method, path, allowed in (
            ("PUT", "/v1/me", "DELETE, GET, HEAD, PATCH"),
            ("GET", "/v1/users", "POST"),
            ("POST", "/health/live", "GET, HEAD"),
            ("PROPFIND", "/v1/feed", "GET, HEAD"),
            # No person is called so, though other paths have a person there.
            ("DELETE", "/v1/connections/ignored", "GET, HEAD"),
            ("DELETE", "/v1/connections/requests", "GET, HEAD"),
            ("DELETE", "/v1/connections/requests/sent", "GET, HEAD"),
            ("DELETE", "/v1/sessions/renew", "POST"),
            ("GET", "/v1/sessions/current", "DELETE"),
        ):
            answer = await house.ask(method, path)
            assert is_problem(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == allowed
        assert house.metrics.counts["http_requests", "GET", "unmatched", "404"] == 7
        assert house.metrics.counts["http_requests", "other", "unmatched", "405"] == 1


async def test_what_nobody_expected_is_500_with_a_reference_and_no_insides(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway() as house:
        ada = await house.person("ada")

        async def broken(*_: object) -> None:
            raise RuntimeError("ada@example.com said: my secret")

        monkeypatch.setattr(house.cache, "feed", broken)
        answer = await ada.ask("GET", "/v1/feed")
        assert is_problem(answer, 500, "internal_error")
        assert "secret" not in answer.text
        assert "RuntimeError" not in answer.text
        reference = re.search(r"reference (\w+)", answer.json["detail"])
        assert reference is not None
        [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
        line = JsonLines().format(record)
        assert "\n" not in line
        assert reference[1] in line
        assert "RuntimeError" in line
        assert "secret" not in line
        assert "ada@example.com" not in line
        assert msgspec.json.decode(line)["way"]


async def test_too_many_passwords_at_once_is_503() -> None:
    async with gateway() as house:

        async def busy(*_: object) -> None:
            raise BusyError("too many")

        house.passwords.verify = busy
        answer = await house.ask("POST", "/v1/sessions", {"email": "a@b.de", "password": "x"})
        assert is_problem(answer, 503, "too_busy")


async def test_a_bug_in_paging_is_not_blamed_on_the_asker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway() as house:
        ada = await house.person("ada")

        async def broken(*_: object) -> None:
            raise ValueError("a bug")

        monkeypatch.setattr(house.cache, "feed", broken)
        monkeypatch.setattr(house.database, "feed", broken)
        assert is_problem(await ada.ask("GET", "/v1/feed"), 500, "internal_error")


def test_every_problem_is_listed_and_has_a_page_that_says_who_may_have_it() -> None:
    pages = Pages(OPERATIONS, Settings(data_dir=Path("/nowhere")))
    for code, (status, title) in PROBLEMS.items():
        assert f'<a href="/problems/{code}"><code>{code}</code></a></td><td>{status}</td>' in pages.listed
        assert title in html.unescape(pages.of(code))
        users = [one for one in OPERATIONS if code in problems_of(one)]
        assert users or code in ANYWHERE, code
        if len(users) == len(OPERATIONS):
            assert "Every request" in pages.of(code)
        else:
            assert all(f"{one.method} {one.path}" in pages.of(code) for one in users)


def test_every_code_that_a_rule_refuses_with_is_known() -> None:
    folder = Path(__file__).parents[2] / "devconnect" / "domain"
    codes = {
        code
        for path in folder.glob("*.py")
        for code in re.findall(r"(?:refuse|Problem)\(\s*\"(\w+)\"", path.read_text("utf-8"))
    }
    assert len(codes) > 10
    assert codes <= PROBLEMS.keys()
    assert document("brand_new", "detail")["status"] == 409


BODIES = [kind for kind in vars(bodies).values() if isinstance(kind, type) and issubclass(kind, bodies.Body)]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_no_json_gets_past_the_types_but_what_fits_them(value: Any) -> None:
    for kind in BODIES:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(value), type=kind)
