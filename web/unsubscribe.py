"""Ends mails of a kind by one POST to the link in one of them (RFC 8058): by a mail program, or by a page's button."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from devconnect.events.commands import SwitchNotifications
from web.console.pages import form
from web.gateway import Gateway


def handler(gateway: Gateway, done: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What takes the POST, and answers with the page `done`. The link is all that is needed: nobody logs in."""

    async def unsubscribe(request: web.Request) -> web.Response:
        link = gateway.read_link("unsubscribe", request.query.get("token", ""))
        order = gateway.commander.order(request, link.user, link.ticket)
        # Counted for the one whose link it is: providers unsubscribe many people from one address.
        await gateway.limits.take("writes", "free", link.user, order.id)
        command = SwitchNotifications(**order.common(link.user), kind=link.ticket, channel="email", on=False)
        await gateway.commander.ask(command, order.wait)
        return form(done)

    return unsubscribe
