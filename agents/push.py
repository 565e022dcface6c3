"""Sends push messages to the browsers of those who are to be told."""

import base64
import hashlib
import uuid

import msgspec

from agents.delivering import Queue
from devconnect.domain import wording
from devconnect.domain.delivery import PUSH_WAITS, Outcome
from devconnect.domain.model import Channels, Logins, Ref, Snapshot, User
from devconnect.events.base import RequestChannel
from devconnect.events.commands import UnsubscribePush
from devconnect.events.facts import DeliveryRequested
from devconnect.events.topics import PUSH_REQUESTS, delivery_requests
from devconnect.ports.clock import Clock
from devconnect.ports.deliveries import Deliveries, Progress
from devconnect.ports.delivery import PushMessage, PushService
from devconnect.ports.outbox import Outbox, Parcel
from devconnect.ports.truth import Truth

#: Why a browser is left out whose session is over.
SESSION_OVER = "its session is over"
_NAMESPACE = uuid.UUID("6f0b7f0c-93d1-4d55-8f5e-2a8e1f6a7c11")


def queue_push(truth: Truth, outbox: Outbox, deliveries: Deliveries, clock: Clock, *, again: bool = False) -> Queue:
    """From `push-requests` into the outbox; with `again` it is for dead letters."""
    return Queue(
        "send-push" if again else "queue-push",
        "push",
        lambda channels: tuple(channels.push),
        truth=truth,
        outbox=outbox,
        deliveries=deliveries,
        clock=clock,
        again=again,
    )


class PushWay:
    """To a browser, as long as it is subscribed and its session open."""

    channel: RequestChannel = "push"
    topic = PUSH_REQUESTS
    waits: tuple[int, ...] = PUSH_WAITS
    taken: Progress = "sent"

    def __init__(self, service: PushService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    async def send(self, parcel: Parcel, state: Snapshot) -> Outcome | None:
        """What became of a try."""
        channels, logins = state.get(Ref("channels", parcel.user)), state.get(Ref("logins", parcel.user))
        to = channels.push.get(parcel.target) if isinstance(channels, Channels) else None
        if to is None:
            return None
        now = self._clock.now_ms()
        login = logins.sessions.get(to.session) if isinstance(logins, Logins) else None
        if login is None or min(login.expires_at, login.ends_at) <= now:
            return Outcome("gone", SESSION_OVER)
        return await self._service.push(to, message(_request(parcel), state, now), parcel.smaller)

    def refs(self, parcel: Parcel) -> set[Ref]:
        """The documents that it takes."""
        about = _request(parcel).about.get("user", "")
        return {Ref("channels", parcel.user), Ref("logins", parcel.user), Ref("user", about)}

    def farewell(self, parcel: Parcel, outcome: Outcome, now: int) -> UnsubscribePush | None:
        """A browser that is gone isn't subscribed any more; one whose service fails is."""
        if outcome.verdict != "gone":
            return None
        return UnsubscribePush(
            id=uuid.uuid5(_NAMESPACE, parcel.target).hex,
            actor=parcel.user,
            at=now,
            subscription=parcel.target,
            reason="session_over" if outcome.why == SESSION_OVER else "gone",
        )


def message(request: DeliveryRequested, state: Snapshot, now: int) -> PushMessage:
    """What a browser is sent: all of it, or nothing but what it is."""
    bare = {"id": request.notification, "kind": request.kind, "at": request.at, "count": request.count}
    other = state.get(Ref("user", request.about.get("user", "")))
    name = other.profile.name if isinstance(other, User) else ""
    whole = {**bare, "title": wording.title(request.kind, name, request.count), "about": request.about}
    digest = hashlib.sha256((f"group {request.group}" if request.group else request.id).encode()).digest()[:24]
    return PushMessage(
        payloads=tuple(msgspec.json.encode(words) for words in (whole, bare)),
        ttl=max(0, (request.expires_at - now) // 1000),
        urgency=request.urgency,
        # Each has one: a message that is sent a second time after a crash replaces the first where that still waits.
        topic=base64.urlsafe_b64encode(digest).decode(),
    )


def _request(parcel: Parcel) -> DeliveryRequested:
    return delivery_requests.decode(parcel.request.encode())
