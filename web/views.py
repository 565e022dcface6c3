"""JSON answers of the pages outside /v1."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status, body=msgspec.json.encode(data), content_type="application/json", headers=dict(headers or {})
    )
