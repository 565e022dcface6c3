"""New passwords: long enough, none that is tried first, and no other rule; judged off the loop."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from zxcvbn.matching import L33T_TABLE, enumerate_l33t_subs, relevant_l33t_subtable

from devconnect.settings import Settings
from web.password_rules import LENGTH_MAX, _readable, reason
from web.passwords import ArgonPasswords

OWNER = ("Ada Lovelace", "ada.lovelace@example.org")
CHEAP: dict[str, Any] = {"argon2_time_cost": 1, "argon2_memory_kib": 8}


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "difference engine",
        "a second password",
        "no digits no capitals no signs",
        "           x   unlikely  spaces  ",
        "пароли бывают длинными",
        "a" * 72 + " and then something quite different",
        "@4(<{[6&9#!1|0$5+7%2" * 3 + "xkq",
        "3.141592653589793238462643 is pi",
    ],
)
def test_whatever_is_long_and_not_expected_will_do(password: str) -> None:
    assert reason(password, OWNER, 15) is None


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "password password",
        "Password-password!",
        "Password12345678",
        "P@ssw0rdP@ssw0rd",
        "qwertyuiop12345",
        "111111111111111",
        "abcdefghijklmnopqrstuvwxyz",
        "iloveyouforever",
        "letmeinletmein!!",
        "x" * 256,
        " " * 20,
        "密码" * 10,
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    found = reason(password, OWNER, 15)
    assert found is not None
    assert found.endswith("choose words that others wouldn't put together")


@pytest.mark.parametrize(
    "password",
    [
        "ada.lovelace@example.org",
        "Ada.Lovelace-1815",
        "AdaLovelace2026",
        "lovelace@devconnect",
        "DevConnect 12345",
        "example.org ada lovelace",
    ],
)
def test_what_is_known_of_the_owner_or_of_us_is_refused(password: str) -> None:
    assert "your name" in (reason(password, OWNER, 15) or "")
    assert "your name" not in (reason(password.replace("DevConnect", "Ada"), ("Bob", "bob@x.net"), 15) or "")


def test_what_is_known_counts_beside_what_is_tried_first() -> None:
    assert reason("adalovelacepassword", OWNER, 15) is not None
    assert reason("adalovelacepassword", ("Bob",), 15) is None


@given(st.text("@48({[<369!|10$5+7%2abcxyz", max_size=72))
def test_signs_are_read_as_letters_in_a_few_ways_only(piece: str) -> None:
    ways = enumerate_l33t_subs(relevant_l33t_subtable(_readable(piece), L33T_TABLE))
    assert len(ways) <= 16


def test_names_that_belong_to_a_longer_password_do_no_harm() -> None:
    assert reason("lovelace computes bernoulli numbers", OWNER, 15) is None


def test_the_length_is_counted_in_characters_of_one_spelling() -> None:
    assert reason("ü" * 14, OWNER, 15) == (
        "has at least 15 characters: a few words that don't belong together are easy to remember"
    )
    assert "has at least 15" in (reason("u\u0308" * 14, OWNER, 15) or "")
    assert reason("kqzj vxuw", OWNER, 8) is None
    long = "".join(chr(0x4E00 + n) for n in range(LENGTH_MAX + 1))
    assert reason(long, OWNER, 15) == "has at most 256 characters"
    assert reason(long[1:], OWNER, 15) is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=LENGTH_MAX), st.lists(st.text(max_size=50), max_size=3))
def test_no_text_makes_it_fail(password: str, inputs: list[str]) -> None:
    found = reason(password, inputs, 8)
    assert found is None or found.isprintable()


@pytest.fixture
def passwords() -> Any:
    found = ArgonPasswords(Settings(data_dir=Path("/nowhere"), password_min=20, **CHEAP), threads=2)
    yield found
    found.close()


async def test_it_is_asked_off_the_loop_by_many_at_once_and_none_gets_what_is_anothers(
    passwords: ArgonPasswords,
) -> None:
    assert "at least 20" in (await passwords.check("nineteen characters", OWNER) or "")
    people = [(f"Zxqv{n} Wkjq{n}", f"zxqv{n}wkjq{n}zxqv{n}wkjq{n}") for n in range(40)]
    found = await asyncio.gather(*(passwords.check(password, [name]) for name, password in people))
    assert all(found)
    others = await asyncio.gather(*(passwords.check(f"{password}brx", ["Bob"]) for _, password in people))
    assert not any(text and "your name" in text for text in others)
