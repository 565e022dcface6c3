"""Nothing that is somebody's own is in what the processes log, or in an answer that isn't for them."""

import secrets
from pathlib import Path

import pytest

from tests.e2e.people import PASSWORD, Client, Person
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(240)


def logs(system: System) -> dict[str, str]:
    """What every process and server of the system has logged. Kafka's own data and MongoDB's are none of it."""
    found = [system.log, *system.data_dir.rglob("*.log")]
    return {str(path): path.read_text("utf-8", "replace") for path in found if not _is_data(path)}


def _is_data(path: Path) -> bool:
    """Kafka's segments end in .log, too: digits alone are before it."""
    return path.stem.isdigit()


def test_no_address_password_token_or_text_of_anybody_is_in_a_log(system: System) -> None:
    client = Client(system.url)
    ada, bob = Person.join(client, "Ada"), Person.join(client, "Bob")
    said, wrong, about = (f"secret-{name}-{secrets.token_hex(8)}" for name in ("text", "password", "about"))
    ada.do("POST", "/v1/connections", {"user": bob.user, "interest": "interested"})
    bob.do("POST", f"/v1/connections/{ada.user}/review", {"verdict": "accepted"})
    ada.do("POST", f"/v1/conversations/{bob.user}/messages", {"text": said})
    ada.do("PATCH", "/v1/me", {"about": about})
    opened = client.send("POST", "/v1/sessions", {"email": ada.email, "password": PASSWORD})
    assert opened.status == 201
    for body in (
        {"email": ada.email, "password": wrong},
        {"email": ada.email, "password": wrong, "unknown": said},
        {"email": said},
    ):
        assert client.send("POST", "/v1/sessions", body).status in (400, 401)
    assert client.send("POST", "/v1/password-resets", {"email": ada.email}).status == 202
    assert client.send("GET", f"/v1/{said}?token={opened.body['token']}").status == 404
    assert client.send("GET", "/v1/me", token=said).status == 401
    assert client.send("POST", "/v1/users", raw=f'{{"password": "{wrong}"'.encode()).status == 400
    answered = [
        str(client.send("POST", "/v1/sessions", {"email": ada.email, "password": wrong}).body),
        str(bob.read(f"/v1/users/{ada.user}")),
    ]
    own = {
        "address": ada.email,
        "password": PASSWORD,
        "wrong password": wrong,
        "token": opened.body["token"],
        "renewal token": opened.body["renewal_token"],
        "device token": opened.body["device_token"],
    }
    for name, text in own.items():
        assert not [answer for answer in answered if text in answer], name
    found = logs(system)
    assert len(found) > 3
    for name, text in {**own, "message": said, "profile": about}.items():
        assert not [path for path, log in found.items() if text in log], name
