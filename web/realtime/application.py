"""What clients send is answered here: by the operations that HTTP has, and by little else."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from devconnect.domain.delivering import on_screen_of
from devconnect.events.base import new_id, pair_id
from devconnect.ports.focus import Focus
from devconnect.ports.inbox import Live
from devconnect.ports.truth import UnavailableError
from web.auth import require_role
from web.calls import AnyCall, Call, known_user
from web.carrying import hand_over
from web.commands import Outcome
from web.gateway import Gateway
from web.logs import report
from web.operations import ROLES
from web.problems import ProblemError, bad_field, our_mistake, unavailable
from web.realtime import clients
from web.realtime.acks import done, outcome_ack, problem_ack
from web.realtime.clients import Commanding, Telling
from web.realtime.guests import Guest, Guests
from web.realtime.sockets import Answer, Socket
from web.realtime.tellings import shown, typing_text
from web.requests import invalid, whole

#: Milliseconds for which somebody counts as looking at what they said.
FOCUS_MS = 60_000


class Realtime:
    """web.realtime.sockets.Application."""

    def __init__(self, gateway: Gateway, guests: Guests, *, live: Live, focus: Focus, now: Callable[[], float]) -> None:
        """`now` is the loop's time."""
        self._gateway, self._guests = gateway, guests
        self._live, self._focus, self._now = live, focus, now
        self._tellings: Mapping[str, Callable[[Socket, Any], Awaitable[Any]]] = {
            "typing": self._typing,
            "watch_presence": self._watch,
            "unwatch_presence": self._unwatch,
            "focus": self._set_focus,
        }

    async def on_connect(self, socket: Socket, auth: Any, request: web.Request) -> None:
        """Let in whoever has an open session."""
        await self._guests.let_in(socket, auth, request)

    async def on_ready(self, socket: Socket) -> None:
        """Tell them what they have missed."""
        await self._guests.welcome(socket)

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        """They are gone."""
        guest: Guest | None = socket.data
        if guest is not None and guest.has_focus:
            self._guests.spawn(self._look_away(guest.claims.user, socket.id))
        self._guests.gone(socket)

    def may_go_on(self, socket: Socket) -> bool:
        """Whether they send no more than anybody may."""
        guest = socket.data
        return guest is None or guest.packets.take(self._now())

    async def on_event(self, socket: Socket, name: str, args: list[Any]) -> Answer:
        """Do what is asked for. Commands of one socket reach Kafka in their order; their outcomes come as they come."""
        try:
            event = clients.EVENTS.get(name)
            if event is None:
                raise ProblemError("event_unknown", f"Clients send {', '.join(clients.EVENTS)}.")
            payload = _payload(event, args)
            if isinstance(event, Commanding):
                return await self._command(socket, event, payload)
            if not socket.data.tellings.take(self._now()):
                raise ProblemError("rate_limited", f"Too much of `{name}` at once.", headers={"Retry-After": "1"})
            return done(await self._tellings[name](socket, payload))
        except Exception as exc:
            return _failed(name, exc)

    async def _command(self, socket: Socket, event: Commanding, payload: clients.Command) -> Answer:
        operation, caller = event.operation, await self._guests.caller(socket)
        require_role(caller, ROLES[operation.who])
        call: AnyCall = Call(self._gateway, None, caller, event.params(payload))
        call.body = event.body(payload)
        path = operation.path.format_map(call.params)
        call.order = self._gateway.commander.order_at(
            operation.method, operation.path, path, caller.user.id, call.body, key=payload.key or None
        )
        sent, _ = await hand_over(self._gateway, operation, call)
        return self._outcome(event, sent, call.order.wait)

    async def _outcome(self, event: Commanding, sent: Outcome, seconds: float) -> bytes:
        try:
            return outcome_ack(await self._gateway.commander.outcome(sent, seconds), event.operation.status)
        except Exception as exc:
            return _failed(event.name, exc)

    async def _typing(self, socket: Socket, payload: clients.Typing) -> clients.Done:
        me, to = (await self._guests.caller(socket)).user.id, known_user(payload.to)
        [relation] = await self._gateway.reads.reading().relations_to(me, [to])
        if relation.state != "accepted":
            raise ProblemError("not_connected", "Only connected people see each other write.")
        await self._live.tell(to, "typing", typing_text(me, to, typing=payload.typing))
        return clients.Done()

    async def _watch(self, socket: Socket, payload: clients.People) -> clients.Watched:
        await self._guests.caller(socket)
        users = tuple(dict.fromkeys(map(known_user, payload.users)))
        watcher = self._guests.watcher(socket)
        if len(watcher.watched | set(users)) > clients.WATCHED_MAX:
            raise bad_field("users", f"are more than {clients.WATCHED_MAX}, with those that are watched already")
        return clients.Watched(presence=shown(await watcher.add(users)))

    async def _unwatch(self, socket: Socket, payload: clients.People) -> clients.Done:
        self._guests.watcher(socket).remove(payload.users)
        return clients.Done()

    async def _set_focus(self, socket: Socket, payload: clients.Focus) -> clients.Done:
        guest: Guest = socket.data
        user = guest.claims.user
        if payload.peer is None:
            guest.has_focus = False
            await self._focus.look_away(user, socket.id)
        else:
            what = on_screen_of({"conversation": pair_id(user, known_user(payload.peer))})
            guest.has_focus = True
            await self._focus.look_at(user, socket.id, what, self._gateway.parts.clock.now_ms() + FOCUS_MS)
        return clients.Done()

    async def _look_away(self, user: str, device: str) -> None:
        """Whoever has closed their tab doesn't look any more; if that can't be said it is over in a minute."""
        with suppress(UnavailableError):
            await self._focus.look_away(user, device)


def _failed(name: str, exc: Exception) -> bytes:
    """The acknowledgement of an event that ended with an exception: never anything of our insides."""
    match exc:
        case ProblemError():
            return problem_ack(exc)
        case UnavailableError():
            return problem_ack(unavailable())
        case _:
            reference = new_id()
            report("socket", name, exc, reference)
            return problem_ack(our_mistake(reference))


def _payload(event: Commanding | Telling, args: list[Any]) -> Any:
    """The one argument of an event as its type; ProblemError(invalid_body)."""
    if len(args) != 1 or not isinstance(args[0], dict):
        raise ProblemError("invalid_body", "An event has one argument, which is an object.")
    try:
        return msgspec.convert({name: whole(value) for name, value in args[0].items()}, event.payload)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc)) from None
