"""Whose request it is: proxies that are trusted are believed, clients aren't, and no header makes it fail."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, strategies as st
from multidict import CIMultiDict

from web.network import UNKNOWN, client_address, network_of

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:aa::/48")))
PROXY = "10.0.0.1"


def request(remote: str | None, *headers: tuple[str, str]) -> web.Request:
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(remote=remote)


def told(*headers: tuple[str, str], remote: str = PROXY) -> str:
    return client_address(request(remote, *headers), TRUSTED)


def test_who_connects_is_the_client_and_what_they_say_of_themselves_counts_for_nothing() -> None:
    for peer in ("192.0.2.7", "2001:db8::7"):
        assert client_address(request(peer)) == peer
        assert told(("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1"), remote=peer) == peer
        assert client_address(request(peer, ("X-Forwarded-For", "198.51.100.1"))) == peer


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        # Only what stands to the right of the first that isn't trusted was written by trusted ones.
        (["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7 , 10.1.2.3"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7", "10.1.2.3, 2001:db8:aa::1"], "192.0.2.7"),
        (["10.9.9.9,10.1.2.3"], "10.9.9.9"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["[2001:DB8::7]:4711"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["fe80::1%eth0"], "fe80::1"),
        # What can't be read is no client: it is whoever told of it.
        (["192.0.2.7, nonsense"], PROXY),
        (["192.0.2.7, nonsense, 10.1.2.3"], "10.1.2.3"),
        ([""], PROXY),
        (["192.0.2.7,"], PROXY),
        (["999.1.1.1"], PROXY),
        (["192.0.2.7\t"], "192.0.2.7"),
    ],
)
def test_a_trusted_proxy_is_believed_from_right_to_left(values: list[str], client: str) -> None:
    assert told(*(("X-Forwarded-For", value) for value in values)) == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (['For="[2001:db8::7]:4711";proto=https;by=203.0.113.43'], "2001:db8::7"),
        (["for=198.51.100.1, for=192.0.2.7;host=example.org", "for=10.1.2.3"], "192.0.2.7"),
        (['for=198.51.100.1, host="b;proto=1" ; FOR="192.0.2.7:80"'], "192.0.2.7"),
        # Quotes that a client has opened, or a comma between quotes, make nobody else of it.
        (['for=198.51.100.1;x=", for="[2001:db8::7]"'], "2001:db8::7"),
        (['for=198.51.100.1;x=", for=192.0.2.7;by="y"'], "192.0.2.7"),
        (['for=192.0.2.7;host="a,b;for=198.51.100.2"'], PROXY),
        (['for=192.0.2.7;host="a;for=198.51.100.2"'], "192.0.2.7"),
        (['host="a;for=198.51.100.2"'], PROXY),
        (['host="a;for=198.51.100.2";for=192.0.2.7'], "192.0.2.7"),
        (["for=192.0.2.7, for=_hidden"], PROXY),
        (["for=unknown"], PROXY),
        (["proto=https"], PROXY),
        (['for="192.0.2.7'], PROXY),
        (["for=192.0.2.7, by=10.1.1.1"], PROXY),
    ],
)
def test_so_it_is_in_the_standard_header(values: list[str], client: str) -> None:
    assert told(*(("Forwarded", value) for value in values)) == client


def test_where_both_headers_are_there_they_must_agree() -> None:
    said = ("Forwarded", "for=192.0.2.7")
    assert told(said, ("X-Forwarded-For", "192.0.2.7")) == "192.0.2.7"
    assert told(said, ("X-Forwarded-For", "198.51.100.1")) == PROXY


def test_who_has_no_address_is_unknown() -> None:
    for remote in (None, "", "@"):
        assert client_address(request(remote, ("X-Forwarded-For", "192.0.2.7")), TRUSTED) == UNKNOWN


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=200),
    st.text('for="\\,;[]:.%0129af ', max_size=60),
)
def test_no_header_makes_it_fail(odd: str, near: str) -> None:
    for text in (odd, near):
        found = told(("X-Forwarded-For", text), ("Forwarded", text))
        assert str(ip_address(found)) == found
        network_of(text)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0{x}", "fe80::/64"),
        (UNKNOWN, UNKNOWN),
        ("{nonsense}", UNKNOWN),
    ],
)
def test_the_network_that_an_address_is_counted_by(address: str, network: Any) -> None:
    assert network_of(address) == network
