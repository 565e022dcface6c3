"""Holds answers against the OpenAPI document that the gateway serves."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from web.openapi import PROBLEM_TYPE, build
from web.routes import OPERATIONS

DOCUMENT = build(OPERATIONS)
PATHS = {re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): path for path in DOCUMENT["paths"]}


def insist(method: str, path: str, status: int, headers: Mapping[str, str], body: Any) -> None:
    """Fail unless the document says that a request may be answered so."""
    operation = _operation(method.lower(), path)
    if operation is None:
        return  # a page outside the document, or a method that isn't served
    answers = DOCUMENT["paths"][operation][method.lower()]["responses"]
    assert str(status) in answers, f"{method} {operation} may not be answered with {status}: {body}"
    for name, header in answers[str(status)]["headers"].items():
        described = DOCUMENT["components"]["headers"][header["$ref"].rpartition("/")[2]]
        assert name in headers or not described["required"], (method, path, status, name)
    content = answers[str(status)].get("content")
    if content is None:
        assert not body, (method, path, status, body)
        return
    kind = headers.get("Content-Type", "").partition(";")[0]
    assert kind in content, (method, path, status, kind)
    assert kind == PROBLEM_TYPE or status < 400
    _validator(operation, method.lower(), str(status), kind).validate(body)


def _operation(method: str, path: str) -> str | None:
    """The path in the document, if it has the method: one without a parameter there is the nearer one."""
    bare = path.partition("?")[0]
    found = [template for pattern, template in PATHS.items() if pattern.fullmatch(bare)]
    nearest = min(found, key=lambda template: template.count("{"), default=None)
    return nearest if nearest is not None and method in DOCUMENT["paths"][nearest] else None


@cache
def _validator(path: str, method: str, status: str, kind: str) -> Any:
    schema = DOCUMENT["paths"][path][method]["responses"][status]["content"][kind]["schema"]
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})
