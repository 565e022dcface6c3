"""Where somebody is told of things: the browsers that take push messages, and the servers that are called."""

from msgspec.structs import replace

from devconnect.domain.model import AnyDocument, Channels, PushSubscription, Ref, Snapshot, Webhook
from devconnect.domain.sessions import account, user_unknown
from devconnect.domain.verdict import Consequences, Verdict, accept, refuse
from devconnect.events import commands as c, facts as f

#: Browsers that a user may have subscribed; one more ends the oldest.
MOST_PUSH = 20
#: Webhooks that a user may have, those that are switched off among them.
MOST_WEBHOOKS = 5


def channels_of(state: Snapshot, user: str) -> Channels:
    """The user's; empty where there never were any."""
    found = state.get(Ref("channels", user))
    return found if isinstance(found, Channels) else Channels(id=user, seq=0, push={}, webhooks={})


def decide(command: c.AnyChannelCommand, offset: int, state: Snapshot) -> Verdict:
    """The verdict on one of these commands."""
    if account(state, command.actor) is None:
        return user_unknown()
    channels, happened = channels_of(state, command.actor), Consequences(command, offset)
    match command:
        case c.SubscribePush():
            return _subscribe(command, channels, happened)
        case c.UnsubscribePush():
            return _unsubscribe(command, channels, happened)
        case c.AddWebhook():
            return _add_webhook(command, channels, happened)
        case c.RemoveWebhook():
            return _remove_webhook(command, channels, happened)
        case c.DisableWebhook():
            return _disable(command, channels, happened)


def _unsubscribe(command: c.UnsubscribePush, channels: Channels, happened: Consequences) -> Verdict:
    if command.subscription not in channels.push:
        return refuse("subscription_unknown", "There is no such subscription of yours.")
    happened.add(f.PushUnsubscribed, user=channels.id, subscription=command.subscription, reason=command.reason)
    return accept({"subscription": command.subscription}, *happened.events)


def _remove_webhook(command: c.RemoveWebhook, channels: Channels, happened: Consequences) -> Verdict:
    if command.webhook not in channels.webhooks:
        return _webhook_unknown()
    happened.add(f.WebhookRemoved, user=channels.id, webhook=command.webhook)
    return accept({"webhook": command.webhook}, *happened.events)


def _webhook_unknown() -> Verdict:
    return refuse("webhook_unknown", "There is no such webhook of yours.")


def _subscribe(command: c.SubscribePush, channels: Channels, happened: Consequences) -> Verdict:
    """One subscription an endpoint; the same one again stays as it is."""
    wanted = (command.endpoint, command.p256dh, command.auth, command.session)
    for name, one in channels.push.items():
        if (one.endpoint, one.p256dh, one.auth, one.session) == wanted:
            return accept({"id": name, "endpoint": one.endpoint, "created_at": one.created_at})
    others = [name for name, one in channels.push.items() if one.endpoint != command.endpoint]
    by_age = sorted(others, key=lambda name: (channels.push[name].created_at, name))
    for name in by_age[: max(0, len(others) + 1 - MOST_PUSH)]:
        happened.add(f.PushUnsubscribed, user=channels.id, subscription=name, reason="too_many")
    event = happened.add(
        f.PushSubscribed,
        user=channels.id,
        subscription=command.id,
        endpoint=command.endpoint,
        p256dh=command.p256dh,
        auth=command.auth,
        session=command.session,
    )
    return accept({"id": command.id, "endpoint": event.endpoint, "created_at": event.at}, *happened.events)


def _add_webhook(command: c.AddWebhook, channels: Channels, happened: Consequences) -> Verdict:
    if len(channels.webhooks) >= MOST_WEBHOOKS:
        return refuse("too_many_webhooks", f"You have {MOST_WEBHOOKS} webhooks: remove one first.")
    happened.add(f.WebhookAdded, user=channels.id, webhook=command.id, url=command.url)
    return accept({"id": command.id, "url": command.url, "created_at": command.at}, *happened.events)


def _disable(command: c.DisableWebhook, channels: Channels, happened: Consequences) -> Verdict:
    webhook = channels.webhooks.get(command.webhook)
    if webhook is None:
        return _webhook_unknown()
    if webhook.disabled_at is None:
        happened.add(f.WebhookDisabled, user=channels.id, webhook=command.webhook, reason=command.reason)
    return accept({"webhook": command.webhook}, *happened.events)


def evolve(state: Snapshot, event: f.ChannelEvent | f.UserDeleted) -> tuple[AnyDocument, ...]:
    """The channels after the event, unless they are ahead of it already; of a deleted user's none is left."""
    before = channels_of(state, event.user)
    if before.seq >= event.seq or (isinstance(event, f.UserDeleted) and not before.seq):
        return ()
    after = _after(before, event)
    return (replace(after, seq=event.seq),)


def _after(before: Channels, event: f.ChannelEvent | f.UserDeleted) -> Channels:
    push, webhooks = before.push, before.webhooks
    match event:
        case f.PushSubscribed():
            others = {name: one for name, one in push.items() if one.endpoint != event.endpoint}
            return replace(before, push={**others, event.subscription: _subscription(event)})
        case f.PushUnsubscribed():
            return replace(before, push={name: one for name, one in push.items() if name != event.subscription})
        case f.WebhookAdded():
            return replace(before, webhooks={**webhooks, event.webhook: Webhook(url=event.url, created_at=event.at)})
        case f.WebhookRemoved():
            return replace(before, webhooks={name: one for name, one in webhooks.items() if name != event.webhook})
        case f.WebhookDisabled() if event.webhook in webhooks:
            off = replace(webhooks[event.webhook], disabled_at=event.at, disabled_for=event.reason)
            return replace(before, webhooks={**webhooks, event.webhook: off})
        case f.UserDeleted():
            return replace(before, push={}, webhooks={})
        case _:
            return before


def _subscription(event: f.PushSubscribed) -> PushSubscription:
    return PushSubscription(
        endpoint=event.endpoint,
        p256dh=event.p256dh,
        auth=event.auth,
        session=event.session,
        created_at=event.at,
    )
