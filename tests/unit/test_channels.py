"""Where messages may go, when another try is made, and how they are encrypted and signed."""

import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given, strategies as st

from devconnect.domain.delivery import (
    HOUR_MS,
    JITTER,
    PUSH_WAITS,
    REST_MAX_MS,
    WEBHOOK_WAITS,
    next_try,
    push_outcome,
    rest,
    webhook_outcome,
)
from devconnect.domain.outbound import is_public, trouble
from devconnect.push.encryption import BODY_MAX, PAYLOAD_MAX, encrypt
from devconnect.push.vapid import Vapid, new_private_key, subject, vapid
from devconnect.settings import Settings, SettingsError
from tests.contract.receivers import Browser, data, insist_on_vapid, text


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%2",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001:db8::1",
        "2001::1",
    ],
)
def test_an_address_of_our_own_network_or_of_none_is_not(address: str) -> None:
    assert not is_public(address)


def test_private_urls_and_http_are_for_development_alone() -> None:
    assert trouble("http://127.0.0.1:8080/x", private=True) is None
    assert trouble("http://127.0.0.1:8080/x", private=False)
    assert trouble("https://example.com/x", private=False) is None
    assert trouble("https://example.com:99999/x", private=True)
    assert trouble("https://example.com/" + "x" * 1000, private=True)


@pytest.mark.parametrize("host", ["127.1", "0177.0.0.1", "127.0.0.1.", "0x7f.0.0.1", "127.0.0x1", "%31%32%37.0.0.1"])
def test_an_address_in_another_writing_is_no_name(host: str) -> None:
    assert trouble(f"https://{host}/", private=False) == "is a URL of the public internet"


@given(
    st.sampled_from([PUSH_WAITS, WEBHOOK_WAITS]),
    st.integers(1, 12),
    st.none() | st.integers(0, HOUR_MS),
    st.floats(0, 1),
)
def test_another_try_is_near_its_plan_and_not_before_it_was_asked_for(
    waits: tuple[int, ...], tries: int, asked: int | None, chance: float
) -> None:
    found = next_try(waits, tries, asked, chance)
    if tries > len(waits):
        assert found is None
        return
    assert found is not None
    assert found >= (asked or 0)
    assert found >= waits[tries - 1] * (1 - JITTER) - 1
    assert found <= max(waits[tries - 1] * (1 + JITTER) + 1, asked or 0)


def test_tries_go_on_over_hours_and_a_rest_grows_up_to_a_bound() -> None:
    assert sum(WEBHOOK_WAITS) > 12 * HOUR_MS
    rests = [rest(failures, None) for failures in range(1, 40)]
    assert rests == sorted(rests)
    assert rests[-1] == REST_MAX_MS
    assert rest(1, HOUR_MS) == HOUR_MS


@pytest.mark.parametrize(
    ("status", "push", "webhook"),
    [
        (201, "taken", "taken"),
        (302, "refused", "later"),
        (400, "refused", "later"),
        (403, "refused", "later"),
        (404, "gone", "later"),
        (410, "gone", "gone"),
        (413, "too_large", "later"),
        (429, "later", "later"),
        (503, "later", "later"),
    ],
)
def test_what_an_answer_means(status: int, push: str, webhook: str) -> None:
    assert push_outcome(status, "", None).verdict == push
    assert webhook_outcome(status, "", 7.0).verdict == webhook
    assert push_outcome(503, "", 7.0).after_ms == 7000


@given(st.binary(min_size=1, max_size=PAYLOAD_MAX), st.integers(1, 50))
def test_what_is_encrypted_for_a_browser_it_can_read(payload: bytes, number: int) -> None:
    browser = Browser(number)
    body = encrypt(payload, text(browser.point), text(browser.auth))
    assert len(body) <= BODY_MAX
    assert browser.read(body) == payload
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever its cipher says
        Browser(number + 1).read(body)


def test_what_does_not_fit_is_refused() -> None:
    browser = Browser()
    assert len(encrypt(b"x" * PAYLOAD_MAX, text(browser.point), text(browser.auth))) == BODY_MAX
    with pytest.raises(ValueError, match="at most"):
        encrypt(b"", text(browser.point), text(browser.auth))
    with pytest.raises(ValueError, match="at most"):
        encrypt(b"x" * (PAYLOAD_MAX + 1), text(browser.point), text(browser.auth))


def test_the_reader_of_these_tests_reads_rfc_8291_s_own_example() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    browser = Browser()
    number = int.from_bytes(data("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big")
    browser.key, browser.auth = ec.derive_private_key(number, ec.SECP256R1()), data("BTBZMqHH6r4Tts7J_aSIgg")
    body = data(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.read(body) == b"When I grow up, I want to be a watermelon"


def test_a_token_is_signed_for_its_service_and_used_again_until_near_its_end() -> None:
    signing = Vapid(new_private_key(), "mailto:us@example.org")
    first = signing.authorization("https://push.example.com/a", 1000)
    insist_on_vapid({"Authorization": first}, "https://push.example.com", signing.public_key, 1000)
    assert signing.authorization("https://push.example.com/b", 1000 + 10 * 3600) == first
    assert signing.authorization("https://push.example.com/b", 1000 + 11 * 3600) != first
    with pytest.raises(jwt.InvalidAudienceError):
        insist_on_vapid({"Authorization": first}, "https://other.example.com", signing.public_key, 1000)


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert vapid(settings).public_key == vapid(settings).public_key
    assert stat.S_IMODE((tmp_path / "vapid-key").stat().st_mode) == 0o600
    given: Any = Settings(data_dir=tmp_path, vapid_private_key=new_private_key(), mail_from="A <a@example.org>")
    assert vapid(given).public_key != vapid(settings).public_key
    assert subject(given) == "mailto:a@example.org"
    with pytest.raises(SettingsError, match="VAPID_PRIVATE_KEY"):
        vapid(Settings(data_dir=tmp_path, vapid_private_key="A" * 43))
