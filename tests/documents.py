"""Looking at documents that describe interfaces."""

from collections.abc import Iterator
from typing import Any


def references(part: Any) -> Iterator[str]:
    """Every $ref, wherever it is."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)
