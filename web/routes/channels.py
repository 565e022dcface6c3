"""Where the reader is told of things: the browsers that take push messages, and the servers that are called."""

from typing import Any

from devconnect.domain import outbound
from devconnect.events import commands as c
from devconnect.push import encryption
from web import bodies
from web.answers import (
    PushKey,
    PushSubscribed,
    PushSubscriptions,
    PushUnsubscribed,
    Webhook,
    WebhookAdded,
    WebhookPending,
    WebhookRemoved,
    Webhooks,
)
from web.calls import AnyCall, Call
from web.operations import Operation, Reply, action, command, read
from web.problems import bad_field
from web.queries import NoQuery


async def read_push_key(call: AnyCall) -> Reply:
    """The key that browsers subscribe with."""
    return Reply(data=PushKey(public_key=call.gateway.parts.push_key))


def subscribe_push(call: Call[bodies.SubscribePush, NoQuery]) -> c.SubscribePush:
    """Send push messages to a browser."""
    keys = call.body.keys
    _insist_on_url(call, "endpoint", call.body.endpoint)
    try:
        encryption.point(keys.p256dh)
    except ValueError:
        raise bad_field("keys.p256dh", "is a point of P-256, uncompressed, in base64url") from None
    try:
        encryption.secret(keys.auth)
    except ValueError:
        raise bad_field("keys.auth", "is 16 bytes in base64url") from None
    return c.SubscribePush(
        **call.common(),
        endpoint=call.body.endpoint,
        p256dh=keys.p256dh.rstrip("="),
        auth=keys.auth.rstrip("="),
        session=call.me.session.id,
    )


def _insist_on_url(call: AnyCall, field: str, url: str) -> None:
    wrong = outbound.trouble(url, private=call.gateway.parts.settings.outbound_private)
    if wrong is not None:
        raise bad_field(field, wrong)


async def read_push_subscriptions(call: AnyCall) -> Reply:
    """The browsers that take push messages."""
    found = await call.gateway.parts.accounts.channels_of(call.me.user.id)
    items = [
        PushSubscribed(id=name, endpoint=one.endpoint, created_at=one.created_at)
        for name, one in (found.push.items() if found else ())
    ]
    items.sort(key=lambda one: (-one.created_at, one.id))
    return Reply(data=PushSubscriptions(items=tuple(items)), source="database")


def unsubscribe_push(call: AnyCall) -> c.UnsubscribePush:
    """Send no more of them to one browser."""
    return c.UnsubscribePush(**call.common(), subscription=call.ident("subscription", "subscription_unknown"))


async def add_webhook(call: Call[bodies.AddWebhook, NoQuery]) -> Reply:
    """Have a server called, and tell its secret."""
    gateway = call.gateway
    _insist_on_url(call, "url", call.body.url)
    call.order = gateway.commander.order(call.request, call.me.user.id, call.body)
    headers = await call.charge()
    order = c.AddWebhook(**call.common(), url=call.body.url)
    outcome = await gateway.commander.ask(order, call.order.wait)
    return Reply(outcome=outcome, headers=headers, data={"secret": gateway.webhook_secrets.secret(order.id)})


async def read_webhooks(call: AnyCall) -> Reply:
    """The servers that are called."""
    found = await call.gateway.parts.accounts.channels_of(call.me.user.id)
    items = [
        Webhook(
            id=name,
            url=one.url,
            created_at=one.created_at,
            disabled=one.disabled_for,
            disabled_at=one.disabled_at,
        )
        for name, one in (found.webhooks.items() if found else ())
    ]
    items.sort(key=lambda one: (-one.created_at, one.id))
    return Reply(data=Webhooks(items=tuple(items)), source="database")


def remove_webhook(call: AnyCall) -> c.RemoveWebhook:
    """Call one no more."""
    return c.RemoveWebhook(**call.common(), webhook=call.ident("webhook", "webhook_unknown"))


_TAG: dict[str, Any] = {"tag": "channels"}

OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/push-key",
        read_push_key,
        "The key for push subscriptions",
        who="anybody",
        answer=PushKey,
        problems=("not_logged_in",),
        **_TAG,
    ),
    read(
        "/v1/me/push-subscriptions",
        read_push_subscriptions,
        "The own push subscriptions",
        answer=PushSubscriptions,
        **_TAG,
    ),
    command(
        "POST",
        "/v1/me/push-subscriptions",
        subscribe_push,
        "Take push messages in a browser",
        body=bodies.SubscribePush,
        status=201,
        answer=PushSubscribed,
        problems=("user_unknown",),
        description="While the session that asks is open; another subscription with the same `endpoint` gives way. "
        "The same one again changes nothing: a page hands its own in whenever it starts.",
        **_TAG,
    ),
    command(
        "DELETE",
        "/v1/me/push-subscriptions/{subscription}",
        unsubscribe_push,
        "Take no more push messages",
        answer=PushUnsubscribed,
        problems=("subscription_unknown", "user_unknown"),
        **_TAG,
    ),
    read("/v1/me/webhooks", read_webhooks, "The own webhooks", answer=Webhooks, **_TAG),
    action(
        "POST",
        "/v1/me/webhooks",
        add_webhook,
        "Have a server called",
        body=bodies.AddWebhook,
        status=201,
        answer=WebhookAdded,
        pending=WebhookPending,
        secret=True,
        problems=("too_many_webhooks", "user_unknown"),
        description="Each call is signed with the `secret`, which is told in this answer alone.",
        **_TAG,
    ),
    command(
        "DELETE",
        "/v1/me/webhooks/{webhook}",
        remove_webhook,
        "Have a server called no more",
        answer=WebhookRemoved,
        problems=("webhook_unknown", "user_unknown"),
        **_TAG,
    ),
)
