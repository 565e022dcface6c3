"""Signed links: good for their purpose, their time and the one who holds the key; everything else is no link."""

import base64
import string
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from devconnect.links import MAC, TOKEN_MAX, Link, Links, Purpose

SECRET = "s" * 48
LINKS = Links(SECRET)
NOW = 1_700_000_000_000
FIELDS: dict[str, Any] = {"user": "a" * 32, "ticket": "b" * 32, "expires_at": NOW + 1, "email": "ada@example.org"}
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_signed_is_what_is_read(purpose: Purpose) -> None:
    token = LINKS.sign(purpose, **FIELDS)
    assert LINKS.read(purpose, token, NOW) == Link(purpose=purpose, **FIELDS)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
    assert len(token) < 200


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_link_is_good_for_no_other_purpose(purpose: Purpose) -> None:
    token = LINKS.sign(purpose, **FIELDS)
    assert [other for other in PURPOSES if LINKS.read(other, token, NOW)] == [purpose]


def test_a_link_is_over_when_its_time_comes() -> None:
    token = LINKS.sign("verify-email", **FIELDS)
    assert LINKS.read("verify-email", token, NOW) is not None
    assert LINKS.read("verify-email", token, NOW + 1) is None


def test_another_key_s_link_is_none_of_ours() -> None:
    assert LINKS.read("verify-email", Links("t" * 48).sign("verify-email", **FIELDS), NOW) is None


@given(st.data())
def test_a_token_with_another_sign_anywhere_is_no_link(data: st.DataObject) -> None:
    token = LINKS.sign("reset-password", **FIELDS)
    place = data.draw(st.integers(0, len(token) - 1))
    sign = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_+/=\n é").filter(token[place].__ne__))
    assert LINKS.read("reset-password", token[:place] + sign + token[place + 1 :], NOW) is None


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_we_have_not_signed_is_no_link(token: str) -> None:
    assert LINKS.read("verify-email", token, NOW) is None


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t + "=", lambda t: " " + t, str.lower]
)
def test_a_link_cut_or_added_to_is_none(change: Any) -> None:
    assert LINKS.read("verify-email", change(LINKS.sign("verify-email", **FIELDS)), NOW) is None


def test_the_longest_address_fits_and_a_longer_token_is_not_looked_at() -> None:
    long = {**FIELDS, "email": "é" * 127 + "@" + "x" * 126}
    token = LINKS.sign("verify-email", **long)
    assert LINKS.read("verify-email", token, NOW) == Link(purpose="verify-email", **long)
    too_long = LINKS.sign("verify-email", **{**FIELDS, "email": "x" * TOKEN_MAX})
    assert LINKS.read("verify-email", too_long, NOW) is None


def test_a_signature_can_not_be_found_by_trying() -> None:
    assert MAC * 8 >= 128
