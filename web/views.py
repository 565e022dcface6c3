"""What is shown of accounts and messages, and JSON answers."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from devconnect.ports.reads import Source, UserView


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status, body=msgspec.json.encode(data), content_type="application/json", headers=dict(headers or {})
    )


def read_response(data: Any, source: Source) -> web.Response:
    """The answer to a read, which says where it came from."""
    return json_response(data, headers={"X-Source": source})


def card(user: UserView) -> dict[str, Any]:
    """A user as everybody sees them."""
    return {"id": user.id, **msgspec.to_builtins(user.profile), "created_at": user.created_at}


def account(user: UserView) -> dict[str, Any]:
    """A user as they see themselves."""
    return {
        "id": user.id,
        "email": user.email,
        **msgspec.to_builtins(user.profile),
        "tier": user.tier,
        "role": user.role,
        "created_at": user.created_at,
    }
