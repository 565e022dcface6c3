"""schemathesis runs the whole document against the running product, as a stranger, a member and an operator.

Longer, and with other examples: `OPENAPI_TIMES=20 OPENAPI_SEED=7 make test ARGS="-k test_openapi"`.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.e2e.gateways import GENEROUS, at_once
from tests.e2e.kafka import letters
from tests.e2e.openapi import cast
from tests.e2e.openapi.runs import Caller, Effort, Outcome, Run, carry_out
from tests.e2e.system import System
from web.routes import OPERATIONS

EFFORT = Effort(os.environ.get("OPENAPI_SEED", "1"), int(os.environ.get("OPENAPI_TIMES", "1")))
pytestmark = pytest.mark.timeout(1_000 * EFFORT.times)

ENV = {
    # How often somebody may ask is another test's business.
    **GENEROUS,
    "ACCESS_TOKEN_SECONDS": "1200",
    # Each request says by X-Forwarded-For that it comes from elsewhere: attempts that fail are counted by network, too.
    "TRUSTED_PROXIES": "127.0.0.0/8",
}
ALL_PHASES = "examples,coverage,fuzzing,stateful"
#: All of it by those whom it is for, and a little of everything else by everybody.
RUNS = (
    Run("member-theirs", "member", ALL_PHASES, 8, "/x-who == member"),
    Run("stranger-theirs", "", ALL_PHASES, 8, "/x-who == anybody"),
    Run("operator-theirs", "operator", ALL_PHASES, 8, "/x-who == operator"),
    Run("analyst-theirs", "analyst", ALL_PHASES, 8, "/x-who == analyst"),
    Run("operator-others", "operator", "examples,fuzzing", 3, but="/x-who == operator"),
    Run("stranger-others", "", "examples,fuzzing", 3, but="/x-who == anybody"),
    Run("member-others", "member", "examples,fuzzing", 3, but="/x-who == member"),
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that nobody can ask too much of."""
    with System(tmp_path_factory.mktemp("openapi"), **ENV).running() as found:
        yield found


@pytest.fixture(scope="module")
def outcomes(house: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All runs, the longest beside the others."""

    def caller(role: str) -> Caller:
        person = cast.caller(house, role or "member")
        known = cast.prepare(house, person)
        return Caller(person.token if role else "", known)

    roles = sorted({run.role for run in RUNS})
    callers = dict(zip(roles, at_once([partial(caller, role) for role in roles]), strict=True))
    folder = tmp_path_factory.mktemp("runs")
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda run: carry_out(run, callers[run.role], house.url, folder / run.name, EFFORT), RUNS)
        return dict(zip((run.name for run in RUNS), found, strict=True))


@pytest.mark.parametrize("name", [run.name for run in RUNS])
def test_nothing_is_answered_that_the_document_does_not_say(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].ok, outcomes[name].output[-20_000:]


def test_every_operation_was_done_not_only_refused(outcomes: dict[str, Outcome]) -> None:
    done: Counter[str] = Counter()
    for outcome in outcomes.values():
        for (name, status), times in outcome.answers.items():
            done[name] += times if status < 400 else 0
    assert {one.name for one in OPERATIONS} - set(+done) == set()


def test_nothing_that_was_sent_has_broken_anybody_behind_the_gateway(
    house: System, outcomes: dict[str, Outcome]
) -> None:
    assert outcomes
    assert letters(house) == []
    assert "internal_error" not in house.output()
