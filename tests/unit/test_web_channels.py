"""Where people are told of things, as they say it by HTTP; and the one click that ends mails of a kind."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from devconnect.domain.channels import MOST_PUSH, MOST_WEBHOOKS
from devconnect.domain.model import Channels, Ref
from devconnect.events.commands import DisableWebhook
from devconnect.events.facts import MailRequested
from devconnect.events.topics import USER_COMMANDS
from devconnect.links import Links
from devconnect.mail.compose import Composer
from devconnect.webhook_secrets import WebhookSecrets
from tests.contract.receivers import Browser, text
from tests.unit.web_fakes import KEY, VAPID_KEY
from tests.unit.web_house import Answer, House, Person, gateway

KEYS = {"p256dh": text(Browser().point), "auth": text(Browser().auth)}
PUSH, HOOKS = "/v1/me/push-subscriptions", "/v1/me/webhooks"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with gateway() as found:
        yield found


@pytest.fixture
async def ada(house: House) -> Person:
    return await house.person("ada")


async def subscribed(person: Person, number: int = 1, **more: Any) -> Answer:
    body = {"endpoint": f"https://push.example.com/{number}", "keys": KEYS, "expirationTime": None, **more}
    return await person.ask("POST", PUSH, body)


def channels(house: House, person: Person) -> Channels:
    found = house.world.documents[Ref("channels", person.id)]
    assert isinstance(found, Channels)
    return found


async def test_anybody_is_told_the_key_to_subscribe_with(house: House) -> None:
    assert (await house.ask("GET", "/v1/push-key")).json == {"public_key": VAPID_KEY}


async def test_a_browser_is_subscribed_once_listed_and_let_go(ada: Person) -> None:
    first, again = await subscribed(ada), await subscribed(ada)
    assert (first.status, again.status, again.json["id"]) == (201, 201, first.json["id"])
    assert [one["id"] for one in (await ada.ask("GET", PUSH)).json["items"]] == [first.json["id"]]
    assert (await ada.ask("DELETE", f"{PUSH}/{first.json['id']}")).status == 200
    assert (await ada.ask("GET", PUSH)).json == {"items": []}
    assert (await ada.ask("DELETE", f"{PUSH}/{first.json['id']}")).status == 404


async def test_one_endpoint_is_one_subscription_and_too_many_end_the_oldest(house: House, ada: Person) -> None:
    first = (await subscribed(ada)).json["id"]
    second = (await subscribed(ada, keys={**KEYS, "auth": "B" * 21 + "A"})).json["id"]
    assert set(channels(house, ada).push) == {second} != {first}
    for number in range(2, MOST_PUSH + 2):
        house.clock.now += 1
        await subscribed(ada, number)
    assert len(channels(house, ada).push) == MOST_PUSH
    assert second not in channels(house, ada).push


@pytest.mark.parametrize(
    "body",
    [
        {"endpoint": "http://push.example.com/1"},
        {"endpoint": "https://127.0.0.1/1"},
        {"endpoint": "https://[::ffff:127.0.0.1]/1"},
        {"endpoint": "https://localhost/1"},
        {"endpoint": "https://me@push.example.com/1"},
        {"keys": {**KEYS, "p256dh": text(b"\x04" + b"\x01" * 64)}},
        {"keys": {**KEYS, "p256dh": KEYS["p256dh"][:-4]}},
        {"keys": {**KEYS, "auth": "AAAA"}},
        {"keys": {**KEYS, "auth": "!" * 22}},
    ],
)
async def test_what_can_be_no_subscription_is_refused(ada: Person, body: dict[str, Any]) -> None:
    answer = await subscribed(ada, **body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_body")


async def test_a_webhook_s_secret_is_told_once_and_kept_nowhere(house: House, ada: Person) -> None:
    added = await ada.ask("POST", HOOKS, {"url": "https://example.com/hook"}, key="k1")
    secret = added.json["secret"]
    assert (added.status, secret) == (201, WebhookSecrets(KEY).secret(added.json["id"]))
    again = await ada.ask("POST", HOOKS, {"url": "https://example.com/hook"}, key="k1")
    assert again.json == added.json
    assert "secret" not in (await ada.ask("GET", HOOKS)).json["items"][0]
    assert secret not in str(house.world.documents) + str(house.world.decisions) + str(house.world.sent)


async def test_webhooks_are_so_many_at_most_and_go_when_they_are_told_to(ada: Person) -> None:
    made = [
        (await ada.ask("POST", HOOKS, {"url": f"https://example.com/{n}"})).json["id"] for n in range(MOST_WEBHOOKS)
    ]
    refused = await ada.ask("POST", HOOKS, {"url": "https://example.com/more"})
    assert (refused.status, refused.json["code"]) == (409, "too_many_webhooks")
    assert (await ada.ask("DELETE", f"{HOOKS}/{made[0]}")).status == 200
    assert (await ada.ask("POST", HOOKS, {"url": "https://example.com/more"})).status == 201
    for url in ("http://example.com", "https://10.0.0.1/", "ftp://example.com", "https://"):
        assert (await ada.ask("POST", HOOKS, {"url": url})).status == 400


async def test_whose_webhook_is_switched_off_sees_why_and_is_told(house: House, ada: Person) -> None:
    made = (await ada.ask("POST", HOOKS, {"url": "https://example.com/1"})).json["id"]
    command = DisableWebhook(id="d" * 32, actor=ada.id, at=5, webhook=made, reason="failing")
    await house.world.send(USER_COMMANDS.name, ada.id, USER_COMMANDS.encode(command))
    [listed] = (await ada.ask("GET", HOOKS)).json["items"]
    assert (listed["disabled"], listed["disabled_at"]) == ("failing", 5)
    assert house.world.notes[-1].kind == "webhook_disabled"
    assert house.world.notes[-1].recipient == ada.id


async def test_nobody_touches_another_s(house: House, ada: Person) -> None:
    eve = await house.person("eve")
    one, hook = (
        (await subscribed(ada)).json["id"],
        (await ada.ask("POST", HOOKS, {"url": "https://example.com/1"})).json["id"],
    )
    assert (await eve.ask("DELETE", f"{PUSH}/{one}")).status == 404
    assert (await eve.ask("DELETE", f"{HOOKS}/{hook}")).status == 404
    assert (await eve.ask("GET", PUSH)).json == {"items": []}


async def test_with_the_account_all_of_it_goes(house: House, ada: Person) -> None:
    await subscribed(ada)
    await ada.ask("POST", HOOKS, {"url": "https://example.com/1"})
    await ada.ask("DELETE", "/v1/me", {"password": "correct horse"})
    left = channels(house, ada)
    assert (left.push, left.webhooks) == ({}, {})


# -- unsubscribing


def link(user: str, kind: str = "connection_requested") -> str:
    """Where the link of a mail leads."""
    request = MailRequested(id="m1", kind=kind, user=user, to="", at=1_700_000_000_000, notification="n1")
    mail = Composer(Links(KEY), "").compose(request, to="ada@example.com", name="", at=request.at)
    assert mail.unsubscribe in mail.text
    return mail.unsubscribe


async def test_one_post_to_the_link_ends_mails_of_that_kind_and_a_get_nothing(house: House, ada: Person) -> None:
    where = link(ada.id)
    before = len(house.world.sent)
    page = await house.ask("GET", where)
    assert (page.status, len(house.world.sent)) == (200, before)
    assert '<form method="post">' in page.text
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    form = {"List-Unsubscribe": "One-Click"}
    for _ in range(2):  # a mail program may, and then its reader
        async with house.client.post(where, data=form) as response:
            assert response.status == 200
            assert "any more" in await response.text()
    kinds = house.world.user(ada.id).notification_preferences.kinds
    assert (kinds.connection_requested.email, kinds.digest.email) == (False, True)


@pytest.mark.parametrize("token", ["", "none of ours", "A" * 80])
async def test_a_link_that_is_none_ends_nothing(house: House, ada: Person, token: str) -> None:
    before = len(house.world.sent)
    async with house.client.post(f"/unsubscribe?token={token}") as response:
        assert response.status == 410
    assert len(house.world.sent) == before


async def test_a_link_for_something_else_ends_nothing(house: House, ada: Person) -> None:
    token = Links(KEY).sign("verify-email", user=ada.id, ticket="welcome", expires_at=2_000_000_000_000)
    async with house.client.post(f"/unsubscribe?token={token}") as response:
        assert response.status == 410
