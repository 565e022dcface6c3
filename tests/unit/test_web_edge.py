"""What every answer is given at the edge: headers, an entity tag, compression, and what other origins may see of it."""

import gzip
import re
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from devconnect.adapters.prometheus import PrometheusMetrics
from devconnect.ports.metrics import HTTP_REQUESTS, HTTP_SECONDS
from devconnect.settings import Settings, SettingsError
from tests.unit.edge_house import served
from web.compress import secret, takes_gzip
from web.cors import origin_allowed
from web.etags import none_match, version_tag
from web.exposition import merge
from web.gateway import GATEWAY

BIG = {"items": ["the same again"] * 500}


def answers(data: Any, **headers: str) -> Any:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(data, headers=headers)

    return handle


async def test_every_answer_is_dressed_and_a_handler_may_say_otherwise() -> None:
    own = {"Cache-Control": "public, max-age=60", "Content-Security-Policy": "default-src 'self'"}
    async with served(web.get("/page", answers({}, **own))) as gateway:
        for path in ("/", "/v1/me", "/nothing", "/page"):
            headers = (await gateway.ask(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["server"] == "devconnect"
            assert "strict-transport-security" not in headers
            is_page = path == "/page"
            assert headers["cache-control"] == (own["Cache-Control"] if is_page else "no-store")
            csp = own["Content-Security-Policy"] if is_page else "default-src 'none'; frame-ancestors 'none'"
            assert headers["content-security-policy"] == csp


async def test_answers_that_cant_go_the_quick_way_are_dressed_all_the_same() -> None:
    async def cookie(_: web.Request) -> web.Response:
        response = web.json_response({"a": 1})
        response.set_cookie("session", "x")
        return response

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5"})
        await response.prepare(request)
        await response.write(b"hello")
        return response

    async def unprepared(_: web.Request) -> web.StreamResponse:
        return web.StreamResponse(headers={"Content-Length": "0"})

    async def sent(request: web.Request) -> web.Response:
        response = web.Response(body=b"sent", content_type="text/plain")
        await response.prepare(request)
        await response.write_eof()
        return response

    handlers = {"/cookie": cookie, "/stream": stream, "/unprepared": unprepared, "/sent": sent}
    async with served(*(web.get(path, handler) for path, handler in handlers.items())) as gateway:
        raw = await gateway.raw()
        answer = await raw.ask("/cookie")
        assert answer.headers["set-cookie"].startswith("session=x")
        assert answer.headers["cache-control"] == "no-store"
        assert (await raw.ask("/stream")).body == b"hello"
        assert (await raw.ask("/unprepared")).headers["cache-control"] == "no-store"
        assert (await raw.ask("/sent")).body == b"sent"
        plain, head = await raw.ask("/health/live"), await raw.ask("/health/live", "HEAD")
        changing = ("request-id", "date")
        assert {**head.headers, **{name: plain.headers[name] for name in changing}} == plain.headers
        raw.send(b"GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await raw.read()).headers["connection"] == "keep-alive"
        raw.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        old = await raw.read()
        assert (old.status, old.headers["cache-control"], old.body) == (200, "no-store", plain.body)
        assert await raw.is_closed()


async def test_a_header_with_a_line_break_is_a_failure_and_no_second_header() -> None:
    async with served(web.get("/split", answers({}, X_A="a\r\nSet-Cookie: b"))) as gateway:
        answer = await gateway.ask("/split")
        assert (answer.status, answer.code) == (500, "internal_error")
        assert "set-cookie" not in answer.headers


async def test_a_request_has_the_id_that_it_came_with_or_one_of_its_own() -> None:
    async with served() as gateway:
        assert (await gateway.ask("/", Request_Id="mine-1.2_3")).headers["request-id"] == "mine-1.2_3"
        made = {(await gateway.ask("/", Request_Id=bad)).headers["request-id"] for bad in ("", "a b", "é", "x" * 65)}
        assert len(made) == 4
        assert all(re.fullmatch(r"[0-9a-f]{13,}", one) for one in made)


async def test_a_failure_is_logged_under_the_id_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise RuntimeError("secret")

    async with served(web.get("/broken", broken)) as gateway:
        answer = await gateway.ask("/broken", Request_Id="find-me")
        assert (answer.code, answer.headers["request-id"]) == ("internal_error", "find-me")
        assert "find-me" in answer.json["detail"]
        assert [record for record in caplog.records if "find-me" in record.getMessage()]


@pytest.mark.parametrize(
    ("settings", "sent", "is_told"),
    [
        ({}, {"X_Forwarded_Proto": "https"}, False),
        ({"PUBLIC_URL": "https://example.org"}, {}, True),
        ({"PUBLIC_URL": "http://example.org"}, {}, False),
        ({"TRUSTED_PROXIES": "127.0.0.0/8"}, {"X_Forwarded_Proto": "https"}, True),
        ({"TRUSTED_PROXIES": "127.0.0.0/8"}, {"X_Forwarded_Proto": "http"}, False),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, {"X_Forwarded_Proto": "https"}, False),
    ],
)
async def test_browsers_are_bound_to_tls_where_a_request_came_by_it(
    settings: dict[str, str], sent: dict[str, str], is_told: bool
) -> None:
    loaded = Settings.load(settings)
    async with served(public_url=loaded.public_url, trusted_proxies=loaded.trusted_proxies) as gateway:
        assert ("strict-transport-security" in (await gateway.ask("/", **sent)).headers) is is_told


async def test_who_has_the_answer_already_is_told_that_it_is_the_same() -> None:
    state = {"count": 1}
    async with served(web.get("/state", answers(state))) as gateway:
        first = await gateway.ask("/state")
        tag = first.headers["etag"]
        assert tag.startswith('W/"')
        for asked in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await gateway.ask("/state", If_None_Match=asked)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            assert again.headers["cache-control"] == "no-store"
            assert "content-type" not in again.headers
            assert "content-length" not in again.headers
        assert (await gateway.ask("/state", "HEAD", If_None_Match=tag)).status == 304
        for asked in ('"other"', "nonsense", tag.replace("W/", "").strip('"')):
            assert (await gateway.ask("/state", If_None_Match=asked)).status == 200
        state["count"] = 2
        assert (await gateway.ask("/state", If_None_Match=tag)).status == 200


async def test_only_good_answers_to_reads_have_a_tag() -> None:
    routes = [web.post("/state", answers({})), web.get("/text", lambda _: text())]

    async def text() -> web.Response:
        return web.Response(text="hello")

    async with served(*routes) as gateway:
        for path, method in (("/state", "POST"), ("/text", "GET"), ("/nothing", "GET")):
            answer = await gateway.ask(path, method, If_None_Match="*")
            assert answer.status != 304
            assert "etag" not in answer.headers


async def test_a_version_is_a_strong_tag() -> None:
    async def read(_: web.Request) -> web.Response:
        return web.json_response(BIG, headers={"ETag": version_tag(7)})

    async with served(web.get("/thing", read)) as gateway:
        answer = await gateway.ask("/thing", Accept_Encoding="gzip")
        assert answer.headers["etag"] == '"7"'
        assert "content-encoding" not in answer.headers
        assert (await gateway.ask("/thing", If_None_Match='W/"7"')).status == 304


def test_an_if_none_match_is_compared_weakly() -> None:
    assert none_match('W/"a"', '"a"')
    assert none_match('"b" , "a"', 'W/"a"')
    assert not none_match('"b"', '"a"')
    assert not none_match("", '"a"')


async def test_large_answers_are_compressed_for_who_asks_for_it() -> None:
    huge = {"items": ["the same again"] * 10_000}
    async with served(web.get("/big", answers(BIG)), web.get("/huge", answers(huge))) as gateway:
        for path in ("/big", "/huge"):
            plain = await gateway.ask(path)
            packed = await gateway.ask(path, Accept_Encoding="br, gzip")
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == plain.body
            assert len(packed.body) < len(plain.body) / 5
            assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
            assert plain.headers["etag"] == packed.headers["etag"]
            head = await gateway.ask(path, "HEAD", Accept_Encoding="gzip")
            assert head.headers["content-length"] == packed.headers["content-length"]
            same = await gateway.ask(path, Accept_Encoding="gzip", If_None_Match=packed.headers["etag"])
            assert (same.status, same.body) == (304, b"")


async def test_small_coded_and_secret_answers_are_left_as_they_are() -> None:
    async def token(_: web.Request) -> web.Response:
        return secret(web.json_response(BIG))

    async def cookie(_: web.Request) -> web.Response:
        response = web.json_response(BIG)
        response.set_cookie("session", "x")
        return response

    async def coded(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5000, content_type="text/css", headers={"Content-Encoding": "br"})

    async def image(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5000, content_type="image/png")

    routes = {"/token": token, "/cookie": cookie, "/coded": coded, "/image": image, "/small": answers({})}
    async with served(*(web.get(path, handler) for path, handler in routes.items())) as gateway:
        for path in routes:
            answer = await gateway.ask(path, Accept_Encoding="gzip")
            assert answer.headers.get("content-encoding") != "gzip", path


@pytest.mark.parametrize(
    ("accept", "is_taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("br;q=1, gzip;q=0.5", True),
        ("identity;q=0.5, gzip;q=0.6", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*;q=1, gzip;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=lots", False),
        ("gzipped", False),
    ],
)
def test_accept_encoding_means_what_it_says(accept: str, is_taken: bool) -> None:
    assert takes_gzip(accept) is is_taken


PAGE, EVIL = "https://app.example.com", "https://evil.example.com"


async def test_pages_of_the_list_may_ask_and_no_others() -> None:
    async with served(cors_origins=(PAGE,)) as gateway:
        for path in ("/", "/v1/me", "/nothing"):
            good = await gateway.ask(path, Origin=PAGE)
            assert good.headers["access-control-allow-origin"] == PAGE
            assert good.headers["access-control-allow-credentials"] == "true"
            assert "Command-Id" in good.headers["access-control-expose-headers"]
            assert good.headers["vary"] == "Origin"
            for other in (EVIL, "null", PAGE + ".evil.com", "http://app.example.com"):
                bad = await gateway.ask(path, Origin=other)
                assert not [name for name in bad.headers if name.startswith("access-control")]
                assert bad.headers["vary"] == "Origin"


async def test_a_preflight_is_told_what_goes_at_its_path() -> None:
    ask = {"Access_Control_Request_Method": "PATCH", "Access_Control_Request_Headers": "authorization"}
    async with served(cors_origins=(PAGE,)) as gateway:
        answer = await gateway.ask("/v1/me", "OPTIONS", Origin=PAGE, **ask)
        assert answer.status == 204
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        assert "PUT" not in answer.headers["access-control-allow-methods"]
        assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert int(answer.headers["access-control-max-age"]) > 0
        assert (await gateway.ask("/nothing", "OPTIONS", Origin=PAGE, **ask)).code == "not_found"
        assert (await gateway.ask("/v1/me", "OPTIONS", Origin=EVIL, **ask)).code == "method_not_allowed"
        assert (await gateway.ask("/v1/me", "OPTIONS", Origin=PAGE)).code == "method_not_allowed"


async def test_with_no_list_nothing_is_said_of_origins() -> None:
    async with served() as gateway:
        answer = await gateway.ask("/", Origin=PAGE)
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


@pytest.mark.parametrize(
    ("sent", "is_allowed"),
    [
        ({"Origin": "http://localhost"}, True),
        ({"Origin": PAGE}, True),
        ({"Origin": "https://public.example.org"}, True),
        ({"Origin": "https://localhost"}, False),
        ({"Origin": "http://localhost:81"}, False),
        ({"Origin": EVIL, "Sec_Fetch_Site": "same-origin"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Referer": "http://localhost/"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Referer": "http://localhost/page?x=1"}, True),
        ({"Referer": f"{PAGE}/page"}, True),
        ({"Referer": f"{PAGE}@evil.com/"}, False),
        ({"Referer": f"http://localhost@{EVIL[8:]}/"}, False),
        ({"Referer": "http://[bad"}, False),
        ({}, False),
    ],
)
async def test_a_cookie_counts_only_from_pages_that_may_use_it(sent: dict[str, str], is_allowed: bool) -> None:
    async def say(request: web.Request) -> web.Response:
        return web.json_response({"allowed": origin_allowed(request, request.app[GATEWAY].parts.settings)})

    routes = [web.post("/say", say), web.get("/say", say)]
    async with served(*routes, cors_origins=(PAGE,), public_url="https://public.example.org") as gateway:
        # With PUBLIC_URL https all is https, so that plain http is nobody's of ours.
        expected = (is_allowed and "http://localhost" not in str(sent)) or sent.get("Origin") == "https://localhost"
        assert (await gateway.ask("/say", "POST", **sent)).json == {"allowed": expected}
        assert (await gateway.ask("/say", **sent)).json == {"allowed": True}
    async with served(*routes, cors_origins=(PAGE,)) as gateway:
        expected = is_allowed and "public" not in str(sent)
        assert (await gateway.ask("/say", "POST", **sent)).json == {"allowed": expected}


@pytest.mark.parametrize(
    "bad", ["*", "app.example.com", "https://app.example.com/", "https://a b", "https://A.example"]
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(bad: str) -> None:
    assert Settings.load({"CORS_ORIGINS": f"{PAGE}, http://localhost:3000"}).cors_origins == (
        PAGE,
        "http://localhost:3000",
    )
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        Settings.load({"CORS_ORIGINS": bad})


async def test_methods_that_nobody_knows_are_counted_as_one() -> None:
    async with served() as gateway:
        raw = await gateway.raw()
        for method in ("PROPFIND", "LOCK", "PURGE"):
            await raw.ask("/v1/me", method)
        counts = gateway.house.metrics.counts
        assert counts["http_requests", "other", "unmatched", "405"] == 3


def test_what_is_counted_quickly_is_told_like_all_else() -> None:
    metrics = PrometheusMetrics()
    labels = ("GET", "/v1/me")
    count, observe = metrics.counter(HTTP_REQUESTS, *labels, "200"), metrics.histogram(HTTP_SECONDS, *labels)
    count()
    count()
    metrics.count(HTTP_REQUESTS, *labels, "200")
    for seconds in (0.0001, 0.0002, 99.0):
        observe(seconds)
    metrics.observe(HTTP_SECONDS, *labels, value=0.3)
    for _ in range(2):
        found = {family.name: family for family in text_string_to_metric_families(metrics.expose().decode())}
        assert [sample.value for sample in found["devconnect_http_requests"].samples] == [3.0]
        samples = found["devconnect_http_request_seconds"].samples
        buckets = {one.labels["le"]: one.value for one in samples if one.name.endswith("_bucket")}
        assert (buckets["0.0001"], buckets["0.00025"], buckets["0.5"], buckets["10.0"], buckets["+Inf"]) == (
            1,
            2,
            3,
            3,
            4,
        )
        assert [one.value for one in samples if one.name.endswith("_count")] == [4]
    assert metrics.total(HTTP_REQUESTS) == 3


def test_the_pages_of_several_processes_are_one_that_prometheus_can_read() -> None:
    pages = {}
    for number in range(2):
        metrics = PrometheusMetrics()
        metrics.count(HTTP_REQUESTS, "GET", '/a"} b\\', "200", by=number + 1)
        metrics.observe(HTTP_SECONDS, "GET", "/", value=0.1)
        pages[str(number)] = metrics.expose()
    families = list(text_string_to_metric_families(merge(pages).decode()))
    assert len({family.name for family in families}) == len(families)
    [requests] = [family for family in families if family.name == "devconnect_http_requests"]
    assert {(one.labels["process"], one.labels["route"], one.value) for one in requests.samples} == {
        ("0", '/a"} b\\', 1.0),
        ("1", '/a"} b\\', 2.0),
    }
    assert all("process" in sample.labels for family in families for sample in family.samples)
