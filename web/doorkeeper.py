"""Passwords at the door: whose they are, how often they may be wrong, and which may be set."""

from collections.abc import Sequence
from typing import NamedTuple

from devconnect.domain import normalise
from devconnect.ports.gateway import BusyError, Credentials, Passwords
from devconnect.ports.truth import UnavailableError
from web.device_tokens import DeviceTokens
from web.problems import FieldError, ProblemError
from web.throttle import Action, Attempt, Throttle
from web.who import Caller


class Admitted(NamedTuple):
    """Who has shown the right password, and the token that tells this device from others."""

    user: str
    device_token: str


class Doorkeeper:
    """Checks passwords. A wrong one and an unknown address take the same way, and the same time."""

    def __init__(
        self, credentials: Credentials, passwords: Passwords, throttle: Throttle, devices: DeviceTokens
    ) -> None:
        self._credentials, self._passwords = credentials, passwords
        self._throttle, self._devices = throttle, devices

    def knows(self, email: str, device_token: str) -> bool:
        """Whether somebody has logged in to this account from this device."""
        return self._devices.device(device_token, _account(email)) is not None

    async def let_in(self, email: str, password: str, place: str, device_token: str) -> Admitted:
        """Who logs in; ProblemError(wrong_credentials), (too_many_attempts). `email` is as it was typed."""
        address, account = normalise.email(email), _account(email)
        attempt = await self._throttle.attempt("log_in", account, place, device_token or None)
        user = await self._verified(attempt, address, password)
        if user is None:
            raise ProblemError("wrong_credentials", "No account has this e-mail address and this password.")
        await self._throttle.succeeded(attempt)
        return Admitted(user, self._devices.make(account))

    async def _verified(self, attempt: Attempt, address: str | None, password: str) -> str | None:
        try:
            found = await self._credentials.credentials(address) if address else None
            right = await self._passwords.verify(found[1] if found else None, password)
        except (UnavailableError, BusyError):
            await self._throttle.came_to_nothing(attempt)
            raise
        return found[0] if found and right else None

    async def recognise(self, caller: Caller, password: str, place: str, field: str) -> None:
        """Insist on the password of who is logged in: ProblemError(wrong_password), (too_many_attempts)."""
        # Counted by themselves: who isn't logged in can't use up what those have who are.
        attempt = await self._throttle.attempt("log_in", f"session of {caller.user.id}", place)
        if await self._verified(attempt, caller.user.email, password) != caller.user.id:
            text = "is not the account's password"
            raise ProblemError("wrong_password", f"`{field}` {text}.", errors=(FieldError(field, text),))
        await self._throttle.succeeded(attempt)

    async def insist_on(self, password: str, inputs: Sequence[str], field: str = "password") -> None:
        """ProblemError(password_refused) for one that others would guess; `inputs` is what they know of its owner."""
        why = await self._passwords.check(password, inputs)
        if why is not None:
            raise ProblemError("password_refused", f"`{field}` {why}", errors=(FieldError(field, why),))

    async def attempt(self, action: Action, account: str, place: str) -> Attempt:
        """Count an attempt at something else; ProblemError(too_many_attempts)."""
        return await self._throttle.attempt(action, account, place)

    async def succeeded(self, attempt: Attempt) -> None:
        """It doesn't count."""
        await self._throttle.succeeded(attempt)

    async def came_to_nothing(self, attempt: Attempt) -> None:
        """It doesn't count either."""
        await self._throttle.came_to_nothing(attempt)


def _account(email: str) -> str:
    """What attempts are counted by, whether it is an address or not."""
    return normalise.email(email) or email.strip().lower()
