"""The resources under /v1, one module each. A handler reads the request, asks a service, shapes the answer."""

from aiohttp import web

from web.routes import (
    analytics,
    commands,
    connections,
    conversations,
    feed,
    me,
    notifications,
    presence,
    sessions,
    users,
)


def routes() -> list[web.RouteDef]:
    """Every route under /v1."""
    modules = (
        users,
        sessions,
        me,
        feed,
        connections,
        conversations,
        presence,
        notifications,
        analytics,
        commands,
    )
    return [route for module in modules for route in module.routes()]
