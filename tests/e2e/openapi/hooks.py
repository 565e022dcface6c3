"""Loaded by schemathesis: how requests get their token, what isn't a failure though it looks like one, and a tally."""

import atexit
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

from tests.e2e.people import Client, Person

#: The gateway, the token of who asks ("" for nobody), and where to write how often each was answered how.
URL, TOKEN, TALLY = os.environ["CALLER_URL"], os.environ["CALLER_TOKEN"], Path(os.environ["CALLER_TALLY"])
#: Operations after which whoever has asked is gone, or their session is.
FATAL = ("deleteMe", "changePassword", "logOut", "logOutEverywhere")
#: Fields of which a schema says less than what is asked: a cursor is one that this list gave, an address has a domain
#: as people write it and isn't the account's own, a photo has an http or https URL with a host, and so on.
BEYOND_SCHEMAS = frozenset(
    ("cursor", "email", "photo_url", "time_zone", "endpoint", "url", "keys.p256dh", "keys.auth", "up_to")
)

answers: Counter[tuple[str, int]] = Counter()


def name_of(case: Any) -> str:
    """The operation that a request is for; "" for a method that the path hasn't."""
    operation = case.operation
    is_other = case.method.upper() != operation.method.upper()
    return "" if is_other else str(operation.definition.raw["operationId"])


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
            return SPARES.token() if name_of(case) in FATAL else TOKEN

        def set(self, case: Any, data: str, _: Any) -> None:
            """As clients send it."""
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Every request is from another network: none is refused for those before it."""
    case.headers = {**(case.headers or {}), "X-Forwarded-For": ".".join(str(random.randint(1, 250)) for _ in range(4))}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Take note of what became of it, and of who is gone."""
    answers[name_of(case), response.status_code] += 1
    if response.status_code < 300 and name_of(case) in FATAL:
        SPARES.gone()


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether it is one: no schema can say which cursors and marks were given, or all of what an address is."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    problem = response.json()
    if problem["code"] == "invalid_header":
        return not problem["detail"].startswith("Read-After ")
    return {error["field"] for error in problem.get("errors", [])}.isdisjoint(BEYOND_SCHEMAS)


@atexit.register
def write_tally() -> None:
    """For the test that has started it."""
    TALLY.write_text(json.dumps([[name, status, times] for (name, status), times in answers.items()]))
