"""One spelling for what people type: whatever they type, normalising it twice is normalising it once."""

import pytest
from hypothesis import given, strategies as st

from devconnect.domain import normalise


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.Lovelace+x@EXAMPLE.Com\n", "ada.lovelace+x@example.com"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("ada@b\u00fccher.example", "ada@b\u00fccher.example"),
        ("o'neil_99@mail.sub-domain.co.uk", "o'neil_99@mail.sub-domain.co.uk"),
    ],
)
def test_an_address_has_one_spelling(typed: str, stored: str) -> None:
    assert normalise.email(typed) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "@",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@@example.com",
        ".ada@example.com",
        "a..b@example.com",
        "ada.@example.com",
        "ada@example..com",
        "ada@.com",
        "ada@com.",
        "ada@ex_ample.com",
        "ada@exa-.com",
        "a da@example.com",
        "ada@exam ple.com",
        '"ada"@example.com',
        "ada@[127.0.0.1]",
        "ada<x>@example.com",
        "ada@example.com,bob@example.com",
        "a\x00da@example.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 250 + ".com",
    ],
)
def test_what_is_no_address_is_none(typed: str) -> None:
    assert normalise.email(typed) is None


@given(st.text() | st.emails())
def test_normalising_an_address_twice_is_normalising_it_once(typed: str) -> None:
    once = normalise.email(typed)
    if once is not None:
        assert normalise.email(once) == once
        assert "@" in once
        assert not any(character.isspace() for character in once)


@given(st.text())
def test_a_line_is_one_line(typed: str) -> None:
    once = normalise.line(typed)
    assert normalise.line(once) == once
    assert once == once.strip()
    assert len(once.splitlines()) <= 1


@given(st.lists(st.text(max_size=60), max_size=60))
def test_skills_are_few_short_and_each_once(typed: list[str]) -> None:
    once = normalise.skills(typed)
    if once is not None:
        assert normalise.skills(once) == once
        assert len(set(once)) == len(once) <= 50
        assert all(1 <= len(skill) <= 50 for skill in once)


@given(st.text())
def test_a_link_is_to_the_web_or_none(typed: str) -> None:
    found = normalise.link(typed)
    assert found is None or found == "" or found.lower().startswith(("http://", "https://"))
