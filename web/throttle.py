"""Attempts that fail are few: of guessing passwords, links and addresses; and nobody can lock others out by failing.

What is counted, each for itself: attempts of a network; of an account from a network; of an account from devices where
nobody has logged in to it. A device where somebody has is counted by itself, and with the others of the account where
that is so: neither a stranger elsewhere nor a neighbour in the same network can use up what it has. An account is a
digest of what was given as its address, whether there is one or not.
"""

import hmac
from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from devconnect.domain.allowances import Quota, Rule
from devconnect.ports.allowances import Allowances, Taking
from devconnect.ports.metrics import ATTEMPTS_REFUSED, Metrics
from web.device_tokens import DeviceTokens
from web.limits import retry_after
from web.problems import ProblemError

Action = Literal["log_in", "reset", "sign_up", "confirm"]


class Quotas(Struct, frozen=True, kw_only=True):
    """How many attempts may fail."""

    network: Quota = Quota(50, 900)
    pair: Quota = Quota(10, 900)
    account: Quota = Quota(100, 3600)
    device: Quota = Quota(10, 900)
    #: Of an account, from devices where somebody has logged in to it: an intruder may have left with tokens of many.
    devices: Quota = Quota(100, 3600)


#: Each reset that is asked for writes a mail to somebody who may not have asked, so there are fewer.
QUOTAS: Mapping[Action, Quotas] = {
    "log_in": Quotas(),
    "reset": Quotas(account=Quota(10, 3600)),
    "sign_up": Quotas(),
    "confirm": Quotas(),
}


class Attempt(NamedTuple):
    """An attempt that counts as failed until it is said to have succeeded, or to have come to nothing."""

    #: Of the network and the account: a success takes back its own count.
    shared: tuple[Taking, ...]
    #: Of the account from here, and of the device: a success clears them.
    own: tuple[Taking, ...]


class Throttle:
    """Counts attempts before they are made, so that many at once are no way around it."""

    def __init__(
        self,
        key: str,
        allowances: Allowances,
        devices: DeviceTokens,
        metrics: Metrics,
        quotas: Mapping[Action, Quotas] = QUOTAS,
    ) -> None:
        self._key = hmac.digest(key.encode(), b"devconnect throttle", "sha256")
        self._allowances, self._devices, self._metrics, self._quotas = allowances, devices, metrics, quotas

    async def attempt(self, action: Action, account: str, network: str, token: str | None = None) -> Attempt:
        """Count an attempt, in one round trip. ProblemError(too_many_attempts) when there were too many.

        `account` is the normalised e-mail address, or whatever else is tried; `network` is what `network_of` says;
        `token` the device token that was sent, if any.
        """
        attempt = self._attempt(action, account, network, self._devices.device(token, account))
        takings = [*attempt.shared, *attempt.own]
        found = await self._allowances.take(takings)
        refused = [allowance for allowance in found if not allowance.granted]
        if not refused:
            return attempt
        # Refused is not failed: what counted it takes that back, so that one account can't use up a whole network.
        counted = [taking for taking, allowance in zip(takings, found, strict=True) if allowance.granted]
        if counted:
            await self._allowances.give_back(counted)
        self._metrics.count(ATTEMPTS_REFUSED, action)
        seconds = max(map(retry_after, refused))
        raise ProblemError(
            "too_many_attempts",
            f"Too many attempts have failed: try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )

    async def succeeded(self, attempt: Attempt) -> None:
        """It was right: it doesn't count, and neither do those before it from this device, or to it from here."""
        await self._allowances.give_back(attempt.shared, clear=attempt.own)

    async def came_to_nothing(self, attempt: Attempt) -> None:
        """Whether it was right can't be said, for no fault of who tried (a store is down): it doesn't count."""
        await self._allowances.give_back([*attempt.shared, *attempt.own])

    def _attempt(self, action: Action, account: str, network: str, device: str | None) -> Attempt:
        quotas = self._quotas[action]
        digest = hmac.digest(self._key, account.encode(), "sha256").hex()[:32]
        if device is not None:
            return Attempt(
                (_taking(digest, action, "devices", quotas.devices),),
                (_taking(device, action, "device", quotas.device),),
            )
        return Attempt(
            (_taking(network, action, "network", quotas.network), _taking(digest, action, "account", quotas.account)),
            (_taking(f"{digest}|{network}", action, "pair", quotas.pair),),
        )


def _taking(subject: str, action: Action, of: str, quota: Quota) -> Taking:
    return Taking(subject=subject, rules=(Rule(kind=f"{action}:{of}", quota=quota),))
