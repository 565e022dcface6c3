"""The keys of the project: those that sign tokens, which are changed now and then, and the one that ids follow from.

Token keys are in JWT_SECRET, or in a file of the data folder that every process reads again while it runs. A new key
is known to all of them before the first token is signed with it, and an old one is good until the last token of it is
over: so a rotation logs nobody out.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from devconnect.ports.clock import Clock
from devconnect.settings import Settings, SettingsError, kept_secret, make_once, new_secret, write_private

logger = logging.getLogger(__name__)

#: Milliseconds between looks at the file: a change is known everywhere after so long.
LOOK_MS = 2_000
#: Milliseconds from a key's making to its first signature.
OVERLAP_MS = 15_000


class KeysError(Exception):
    """The keys can't be changed in this way; the text says why, and what to do instead."""


class Key(Struct, frozen=True):
    """A key of tokens; `kid` names it, and follows from it."""

    kid: str
    secret: str


class KeyRecord(Struct, frozen=True, kw_only=True):
    """A key as it is kept. Times are in milliseconds since 1970; without `signs_until` no key comes after it."""

    secret: str
    made_at: int
    signs_from: int
    signs_until: int | None = None

    @property
    def key(self) -> Key:
        """The key itself."""
        return Key(kid_of(self.secret), self.secret)


class _File(Struct, frozen=True):
    keys: tuple[KeyRecord, ...]


def kid_of(secret: str) -> str:
    """The name of a key: it gives nothing of the key away."""
    return hashlib.sha256(b"kid:" + secret.encode()).hexdigest()[:16]


def id_secret(settings: Settings) -> str:
    """The key that ids, links and the like follow from: ID_SECRET, or a random one kept in `DATA_DIR/secret`.

    It never changes: an Idempotency-Key would mean another command, and links would be worth nothing.
    """
    return settings.id_secret or kept_secret(settings)


def derive(secret: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose; whoever has it knows neither the secret nor the key of another purpose."""
    return hmac.digest(secret.encode(), b"devconnect key: " + purpose.encode(), "sha256")


class Keyring:
    """The keys that tokens are signed and verified with, as they are now.

    It looks at its file itself, at most every two seconds, so `current` and `find` cost nothing to speak of. `version`
    grows with every change: what was concluded from a key before may not hold any more.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises SettingsError when the file of keys can't be read."""
        self._clock = clock
        self._longest_ms = longest_ms(settings)
        self._fixed = tuple(Key(kid_of(secret), secret) for secret in settings.jwt_secrets)
        self._store = KeyFile(settings)
        self._records: tuple[KeyRecord, ...] = ()
        self._stamp: object = None
        self._looked = clock.now_ms()
        self.version = 0
        if not self._fixed:
            self._store.open(self._looked)
            # In this order: what changes meanwhile is found at the next look.
            self._stamp = self._store.stamp()
            self._records = self._store.read()

    def current(self) -> Key:
        """The key that signs now."""
        if self._fixed:
            return self._fixed[0]
        self._look()
        return signing(self._records, self._clock.now_ms()).key

    def find(self, kid: str) -> Key | None:
        """The key of this name; None when there is none, or it is retired, or every token of it is over."""
        if self._fixed:
            return next((key for key in self._fixed if key.kid == kid), None)
        self._look()
        good = verifying(self._records, self._clock.now_ms(), self._longest_ms)
        return next((record.key for record in good if record.key.kid == kid), None)

    def refresh(self) -> None:
        """Look at the file now. One that can't be read changes nothing."""
        self._looked = self._clock.now_ms()
        if self._fixed:
            return
        stamp = self._store.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            records = self._store.read()
        except SettingsError as error:
            logger.error("going on with the keys from before: %s", error)
            return
        if records != self._records:
            self._records = records
            self.version += 1

    def _look(self) -> None:
        if not 0 <= self._clock.now_ms() - self._looked < LOOK_MS:
            self.refresh()


def longest_ms(settings: Settings) -> int:
    """How long a token is good for at most, in milliseconds: one that renews a session."""
    return max(settings.session_idle, settings.access_token) * 1000


def signing(records: Sequence[KeyRecord], now: int) -> KeyRecord:
    """The youngest key whose time to sign has come; at first there is only one, and it signs at once."""
    return next((record for record in reversed(records) if record.signs_from <= now), records[0])


def verifying(records: Sequence[KeyRecord], now: int, longest: int) -> list[KeyRecord]:
    """The keys of which a token can be good: all but those that haven't signed for as long as a token lives."""
    return [record for record in records if record.signs_until is None or now < record.signs_until + longest]


class KeyFile:
    """`DATA_DIR/signing-keys`: the keys as JSON, the oldest first, for its owner alone (mode 0600)."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.data_dir / "signing-keys"
        self._longest_ms = longest_ms(settings)

    def open(self, now: int) -> tuple[KeyRecord, ...]:
        """The keys; with the first one made, once for all processes, where there is none."""
        make_once(self.path, lambda: _text([KeyRecord(secret=new_secret(), made_at=now, signs_from=now)]))
        return self.read()

    def read(self) -> tuple[KeyRecord, ...]:
        """The keys that are kept, at least one; SettingsError when that isn't what is in the file."""
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=_File).keys
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self.path} can't be read: {error}") from None
        if not found:
            raise SettingsError(f"{self.path} holds no key: remove it to have one made, which logs everybody out")
        return found

    def stamp(self) -> tuple[int, int, int] | None:
        """Changes whenever the file does; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def rotate(self, now: int) -> KeyRecord:
        """Add a key that signs after the overlap, and let go of those that no token can be of any more."""
        with self._alone():
            records = self.open(now)
            if records[-1].signs_from > now:
                wait = (records[-1].signs_from - now) / 1000
                raise KeysError(f"a rotation is under way: {records[-1].key.kid} signs in {wait:.0f} s; wait for it")
            made = KeyRecord(secret=new_secret(), made_at=now, signs_from=now + OVERLAP_MS)
            before = replace(records[-1], signs_until=made.signs_from)
            self._write([*verifying(records[:-1], now, self._longest_ms), before, made])
            return made

    def retire(self, kid: str, now: int) -> None:
        """Let go of a key: the tokens of it are worth nothing from now on."""
        with self._alone():
            records = self.open(now)
            if all(record.key.kid != kid for record in records):
                raise KeysError(f"there is no key {kid}: `python -m devconnect keys list` shows those that there are")
            if signing(records, now).key.kid == kid:
                raise KeysError(f"{kid} signs: rotate first, and retire it when the new key does")
            *earlier, last = [record for record in records if record.key.kid != kid]
            self._write([*earlier, replace(last, signs_until=None)])

    def _write(self, records: Sequence[KeyRecord]) -> None:
        own = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        write_private(own, _text(records))
        own.replace(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the keys meanwhile; the system lets go of the lock when this process ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{self.path}.lock").open("a") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            yield


def _text(records: Sequence[KeyRecord]) -> str:
    return msgspec.json.format(msgspec.json.encode(_File(tuple(records))), indent=2).decode() + "\n"
