"""Loaded by schemathesis: how requests get their token, and what isn't a failure though it looks like one."""

import os
import random
from typing import Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

from tests.e2e.people import Client, Person

#: Who asks: address of the gateway, token ("" for nobody).
URL, TOKEN = os.environ["CALLER_URL"], os.environ["CALLER_TOKEN"]
#: Operations after which whoever has asked is gone, or their session is.
FATAL = ("deleteMe", "changePassword", "changeEmail", "logOut", "logOutEverywhere")

#: Fields of which a schema says less than what is asked: a cursor is one that this list gave, an address has a domain
#: as people write it and isn't the account's own, a photo has an http or https URL with a host.
BEYOND_SCHEMAS = frozenset(("cursor", "email", "photo_url"))


class Spares:
    """People who ask for what ends them, one after the other."""

    def __init__(self) -> None:
        self._spare: Person | None = None

    def token(self) -> str:
        """That of somebody who is still there."""
        if self._spare is None:
            self._spare = Person.join(Client(URL), "Spare")
        return self._spare.token

    def gone(self) -> None:
        """The last one has done it."""
        self._spare = None


SPARES = Spares()

if TOKEN:

    @schemathesis.auth(refresh_interval=None)
    class Bearer:
        """The caller's token, or that of somebody who can be spared."""

        def get(self, case: Any, _: Any) -> str:
            """The token."""
            if case.operation.definition.raw.get("operationId") in FATAL:
                return SPARES.token()
            return TOKEN

        def set(self, case: Any, data: str, _: Any) -> None:
            """As clients send it."""
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Every request is from another network: none is refused for those before it."""
    case.headers = {**(case.headers or {}), "X-Forwarded-For": ".".join(str(random.randint(1, 250)) for _ in range(4))}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Take note of who is gone."""
    if response.status_code < 300 and case.operation.definition.raw.get("operationId") in FATAL:
        SPARES.gone()


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one: no schema can say what a cursor, a mark, an address or a URL is to be."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    problem = response.json()
    if problem["code"] == "invalid_header":
        return not problem["detail"].startswith("Read-After ")
    return {error["field"] for error in problem.get("errors", [])}.isdisjoint(BEYOND_SCHEMAS)
