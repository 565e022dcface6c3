"""Has a command carried out, however it was asked for: made, counted against its quota, handed over, waited for."""

from collections.abc import Mapping

from web.calls import AnyCall
from web.commands import Outcome
from web.gateway import Gateway
from web.limits import headers as told
from web.operations import Operation, Quota
from web.problems import ProblemError


async def carry_out(gateway: Gateway, operation: Operation, call: AnyCall) -> tuple[Outcome, Mapping[str, str]]:
    """What became of the command of an operation that makes one, and the headers that tell of the quota.

    ProblemError where it isn't taken.
    """
    sent, headers = await hand_over(gateway, operation, call)
    return await gateway.commander.outcome(sent, call.order.wait), headers


async def hand_over(gateway: Gateway, operation: Operation, call: AnyCall) -> tuple[Outcome, Mapping[str, str]]:
    """The same as soon as Kafka has the command; what Kafka hasn't taken isn't counted."""
    if operation.make is None:
        raise TypeError(f"{operation.name} makes no command")
    command = operation.make(call)
    headers = await charge(gateway, operation, call)
    try:
        return await gateway.commander.send(command, call.order.wait), headers
    except ProblemError as problem:
        if problem.code == "kafka_unavailable":
            user = call.me.user
            await gateway.limits.give_back(quota_of(operation, call), user.tier, user.id, command.id)
        raise


async def charge(gateway: Gateway, operation: Operation, call: AnyCall) -> Mapping[str, str]:
    """Count what somebody who is logged in asks for; the headers that tell of it. ProblemError(rate_limited)."""
    user = call.me.user
    return told(await gateway.limits.take(quota_of(operation, call), user.tier, user.id, call.order.id))


def quota_of(operation: Operation, call: AnyCall) -> Quota:
    """What the request is counted against."""
    return operation.quota if isinstance(operation.quota, str) else operation.quota(call.body)
