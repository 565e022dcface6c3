"""Every setting, read from environment variables (and `.env`) once, at a process's start."""

import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devconnect.domain.allowances import (
    FREE,
    GOLD,
    SILVER,
    STRANGERS,
    Policies,
    Policy,
    PolicyError,
    Quota,
    parse_policy,
    parse_quota,
)
from devconnect.mail.server import EXPECTS as SMTP_EXPECTS, parse_sender, parse_server

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A variable holds what it must not; the message names it and says what is expected."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What this process was told. Field by field; the variable's name is in `VARIABLES` below."""

    #: Folder of all data, logs and records of running parts. Absolute.
    data_dir: Path
    #: Address and port that the gateway listens on.
    host: str = "127.0.0.1"
    port: int = 8000
    #: Kafka to use instead of the embedded one: "host:port" or "host:port,host:port".
    kafka_url: str | None = None
    #: Redis to use instead of the embedded one: "redis://…", "rediss://…" or "unix://…".
    redis_url: str | None = None
    #: MongoDB to use instead of the embedded one: "mongodb://…" or "mongodb+srv://…".
    mongo_url: str | None = None
    #: Name of the MongoDB database.
    mongo_db: str = "devconnect"
    #: Ports of the embedded parts; 0 takes a free one (the one of last time where that is free).
    kafka_port: int = 0
    redis_port: int = 0
    mongo_port: int = 0
    #: Partitions of each topic, when it is created.
    partitions: int = 8
    #: Seconds that the gateway waits for a command's result before it answers 202.
    result_wait: float = 2.0
    #: Seconds that a window of a table waits for events that are late before it is closed.
    window_grace: float = 30.0
    #: Seconds that an access token is good for.
    access_token: int = 900
    #: Seconds that a session may go without being renewed, and that it lasts whatever comes.
    session_idle: int = 14 * 86_400
    session_lifetime: int = 90 * 86_400
    #: Whether session cookies are for TLS only.
    cookie_secure: bool = True
    #: Keys of session tokens, of which the first signs and all verify; none: `keys.Keyring` keeps its own in the data
    #: folder.
    jwt_secrets: tuple[str, ...] = ()
    #: Key that ids, links and the like follow from; None: `keys.id_secret` makes one in the data folder.
    id_secret: str | None = None
    #: Cost of hashing a password (argon2id): passes, KiB of memory, lanes.
    argon2_time_cost: int = 2
    argon2_memory_kib: int = 19_456
    argon2_parallelism: int = 1
    #: Characters that a new password must have.
    password_min: int = 15
    #: What each tier may do, and strangers at one address.
    limits_free: Policy = FREE
    limits_silver: Policy = SILVER
    limits_gold: Policy = GOLD
    limits_strangers: Quota = STRANGERS
    #: Networks of the proxies whose word on a client's address is taken.
    trusted_proxies: tuple[Network, ...] = ()
    #: Where people reach the gateway, without a slash at the end; None: `public_url` says.
    public_url: str | None = None
    #: Server that mail is handed to; None: mails are files in the data folder.
    smtp_url: str | None = None
    #: Whom mail is from.
    mail_from: str = "DevConnect <devconnect@localhost>"
    #: Private key that push messages are signed with (32 bytes in base64url); None: `push.vapid` keeps one in the data
    #: folder. And whom a push service turns to (mailto:… or https://…); None: `push.vapid.subject` says.
    vapid_private_key: str | None = None
    vapid_subject: str | None = None
    #: Whether push messages and webhooks may go to private addresses, and without TLS.
    outbound_private: bool = False
    #: Name of a worker process among those of its role; None: the host's name and the port.
    worker_instance: str | None = None
    #: Seconds that a worker may be away and find its partitions again; after that others have them.
    worker_session: float = 10.0
    #: Seconds that a worker may stand still with records left before its /health/live fails.
    worker_stall: float = 60.0
    #: Bad records of a partition that an agent buries before it stops it: one behind the other, and as a share
    #: (percent) of a window of so many offsets.
    dead_letter_run: int = 100
    dead_letter_share: int = 50
    dead_letter_window: int = 1000
    #: Days for which what a person's devices were told can be had again.
    inbox_days: int = 7
    #: Gateway processes on the one port.
    processes: int = 1
    #: Connections that one gateway process has at most.
    connections: int = 10_000
    #: Seconds for a request's head, for its body, until an answer goes on being read, and between two requests.
    head_timeout: float = 10.0
    body_timeout: float = 15.0
    send_timeout: float = 15.0
    idle_timeout: float = 60.0
    #: Seconds that a request may take; a command has `result_wait` more.
    request_timeout: float = 10.0
    #: Seconds that requests in flight have at the end, and that the gateway goes on listening before.
    drain: float = 5.0
    drain_delay: float = 0.0
    #: How sockets may be connected: "websocket", and "polling" where each client always gets to the same process.
    socket_transports: tuple[str, ...] = ("websocket",)
    #: Seconds between two pings of a socket, and that a client has to answer one.
    socket_ping: float = 25.0
    socket_ping_timeout: float = 20.0
    #: Bytes that a message from a client has at most, and that may wait to be sent to a client before it is dropped.
    socket_message_bytes: int = 65_536
    socket_buffer_bytes: int = 262_144
    #: Seconds that a gateway may say nothing before those who have sockets there are offline.
    gateway_lease: float = 10.0
    #: Seconds for which somebody without a socket still counts as here: they may be back on the next page.
    presence_grace: float = 5.0
    #: Origins of pages that may ask with a browser's cookies, each as browsers send it.
    cors_origins: tuple[str, ...] = ()
    #: Least severe log line that is written: DEBUG, INFO, WARNING or ERROR.
    log_level: str = "INFO"

    @property
    def policies(self) -> Policies:
        """What everybody may do."""
        return Policies(
            free=self.limits_free, silver=self.limits_silver, gold=self.limits_gold, strangers=self.limits_strangers
        )

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None, *, dotenv: Path | None = None) -> "Settings":
        """Reads the settings; an empty variable counts as unset.

        With no `env`, the process's own environment and `.env` in the current folder are read, and the
        environment wins. With an `env` given, only it is read (and `dotenv`, if given, beneath it).

        Raises:
            SettingsError: one line that names the variable and what is expected of it.
        """
        if env is None:
            env, dotenv = os.environ, dotenv or Path.cwd() / ".env"
        merged = {**read_dotenv(dotenv), **env} if dotenv is not None else dict(env)
        fields: dict[str, Any] = {"data_dir": Path.cwd() / ".data"}
        for variable in VARIABLES:
            raw = merged.get(variable.name, "").strip()
            if raw:
                fields[variable.field] = variable.read(raw)
        return cls(**fields)


class Variable(NamedTuple):
    """One environment variable: its name, the field it fills, how it is read, and what is expected."""

    name: str
    field: str
    parse: Callable[[str], Any]
    expects: str

    def read(self, raw: str) -> Any:
        try:
            return self.parse(raw)
        except ValueError as error:
            why = f" ({error})" if isinstance(error, PolicyError) else ""
            shown = "…" if self.field in SECRET_FIELDS else repr(raw)
            raise SettingsError(f"{self.name} is {shown}: expected {self.expects}{why}") from None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError(raw)
        return value

    return parse


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        value = float(raw)
        if not least <= value <= most:
            raise ValueError(raw)
        return value

    return parse


def _matching(pattern: str, change: Callable[[str], str] = str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        value = change(raw)
        if not re.fullmatch(pattern, value):
            raise ValueError(raw)
        return value

    return parse


def _yes_or_no(raw: str) -> bool:
    answers = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if raw.lower() not in answers:
        raise ValueError(raw)
    return answers[raw.lower()]


def _without_slash(raw: str) -> str:
    return raw.rstrip("/")


def _secrets(raw: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in raw.split(","))
    if not all(len(secret) >= SECRET_LEAST for secret in found) or len(set(found)) < len(found):
        raise ValueError(raw)
    return found


def _smtp(raw: str) -> str:
    parse_server(raw)
    return raw


def _sender(raw: str) -> str:
    parse_sender(raw)
    return raw


def _kafka(raw: str) -> str:
    servers = raw.removeprefix("kafka://").rstrip("/")
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        if not re.fullmatch(r"[\w.\-]+|\[[0-9a-fA-F:.]+\]", host) or not 0 < int(port) < 65_536:
            raise ValueError(raw)
    return servers


def _policy(default: Policy) -> Callable[[str], Policy]:
    return lambda raw: parse_policy(raw, default)


def _transports(raw: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in raw.split(","))
    if not set(found) <= {"websocket", "polling"} or len(set(found)) < len(found):
        raise ValueError(raw)
    return found


def _listed(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Items with commas between them, each as `parse` has it."""
    return lambda raw: tuple(parse(item.strip()) for item in raw.split(",") if item.strip())


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in raw.split(","))


_POLICY = 'quotas such as "requests=10/day messages=20/min writes=60/min reads=600/min feed=10"'
#: Characters that a secret has at least.
SECRET_LEAST = 32
#: Fields whose values are told to nobody, not even when they are wrong.
SECRET_FIELDS = frozenset({"jwt_secrets", "id_secret", "smtp_url", "vapid_private_key"})


_PORT = "a port, 1 to 65535"
_FREE_PORT = "a port, 1 to 65535, or 0 for a free one"

#: The whole list. To add a setting: a field above, a line here, a line in .env.example.
VARIABLES: tuple[Variable, ...] = (
    Variable("DATA_DIR", "data_dir", lambda raw: Path(raw).expanduser().absolute(), "a folder"),
    Variable("HOST", "host", _matching(r"[\w.:\-]+"), "an address to listen on, such as 127.0.0.1"),
    Variable("PORT", "port", _whole(1, 65_535), _PORT),
    Variable("KAFKA_URL", "kafka_url", _kafka, "kafka://host:port[,host:port]"),
    Variable("REDIS_URL", "redis_url", _matching(r"(rediss?|unix)://\S+"), "redis://host:port[/db] (or rediss://)"),
    Variable("MONGO_URL", "mongo_url", _matching(r"mongodb(\+srv)?://\S+"), "mongodb://host:port"),
    Variable("MONGO_DB", "mongo_db", _matching(r"[\w-]{1,63}"), "a name of letters, digits, _ and -"),
    Variable("KAFKA_PORT", "kafka_port", _whole(0, 65_535), _FREE_PORT),
    Variable("REDIS_PORT", "redis_port", _whole(0, 65_535), _FREE_PORT),
    Variable("MONGO_PORT", "mongo_port", _whole(0, 65_535), _FREE_PORT),
    Variable("PARTITIONS", "partitions", _whole(1, 1024), "a whole number, 1 to 1024"),
    Variable("COMMAND_WAIT_SECONDS", "result_wait", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable("WINDOW_GRACE_SECONDS", "window_grace", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable("ACCESS_TOKEN_SECONDS", "access_token", _whole(10, 1200), "seconds, 10 to 1200"),
    Variable("SESSION_IDLE_SECONDS", "session_idle", _whole(10, 31_536_000), "seconds, 10 to 31536000"),
    Variable("SESSION_LIFETIME_SECONDS", "session_lifetime", _whole(10, 31_536_000), "seconds, 10 to 31536000"),
    Variable("COOKIE_SECURE", "cookie_secure", _yes_or_no, "1 or 0"),
    Variable("ARGON2_TIME_COST", "argon2_time_cost", _whole(1, 100), "a whole number, 1 to 100"),
    Variable("ARGON2_MEMORY_KIB", "argon2_memory_kib", _whole(8, 4_194_304), "KiB, 8 to 4194304"),
    Variable("ARGON2_PARALLELISM", "argon2_parallelism", _whole(1, 64), "a whole number, 1 to 64"),
    Variable("PASSWORD_MIN_LENGTH", "password_min", _whole(8, 64), "a whole number, 8 to 64"),
    Variable("LIMITS_FREE", "limits_free", _policy(FREE), _POLICY),
    Variable("LIMITS_SILVER", "limits_silver", _policy(SILVER), _POLICY),
    Variable("LIMITS_GOLD", "limits_gold", _policy(GOLD), _POLICY),
    Variable("LIMITS_STRANGERS", "limits_strangers", parse_quota, 'a quota such as "60/min"'),
    Variable("TRUSTED_PROXIES", "trusted_proxies", _networks, "networks such as 10.0.0.0/8,2001:db8::/32"),
    Variable(
        "JWT_SECRET", "jwt_secrets", _secrets, "random texts of at least 32 characters, each another, with commas"
    ),
    Variable("ID_SECRET", "id_secret", _matching(r".{32,}"), "a random text of at least 32 characters"),
    Variable("PUBLIC_URL", "public_url", _matching(r"https?://[^\s/?#@]+", _without_slash), "http(s)://host[:port]"),
    Variable("SMTP_URL", "smtp_url", _smtp, SMTP_EXPECTS),
    Variable("MAIL_FROM", "mail_from", _sender, "an address, or a name and an address: DevConnect <mail@example.org>"),
    Variable("VAPID_PRIVATE_KEY", "vapid_private_key", _matching(r"[A-Za-z0-9_-]{43}"), "32 bytes in base64url"),
    Variable(
        "VAPID_SUBJECT",
        "vapid_subject",
        _matching(r"mailto:[^\s@,;<>\"]+@[\w.-]+|https://[\w-]+(\.[\w-]+)+"),
        "mailto:name@example.org or https://example.org",
    ),
    Variable("OUTBOUND_PRIVATE", "outbound_private", _yes_or_no, "1 or 0"),
    Variable("DEAD_LETTER_RUN", "dead_letter_run", _whole(1, 1_000_000), "a whole number, 1 to 1000000"),
    Variable("DEAD_LETTER_SHARE_PERCENT", "dead_letter_share", _whole(1, 100), "percent, 1 to 100"),
    Variable("DEAD_LETTER_WINDOW", "dead_letter_window", _whole(10, 1_000_000), "a whole number, 10 to 1000000"),
    Variable(
        "WORKER_INSTANCE",
        "worker_instance",
        _matching(r"[A-Za-z0-9._-]{1,150}"),
        "a name of at most 150 letters, digits, dots, _ and -",
    ),
    Variable("WORKER_SESSION_SECONDS", "worker_session", _seconds(6, 300), "seconds, 6 to 300"),
    Variable("WORKER_STALL_SECONDS", "worker_stall", _seconds(1, 3600), "seconds, 1 to 3600"),
    Variable("INBOX_DAYS", "inbox_days", _whole(1, 365), "a whole number, 1 to 365"),
    Variable("GATEWAY_PROCESSES", "processes", _whole(1, 64), "a whole number, 1 to 64"),
    Variable("GATEWAY_CONNECTIONS", "connections", _whole(1, 1_000_000), "a whole number, 1 to 1000000"),
    Variable("HEAD_TIMEOUT_SECONDS", "head_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("BODY_TIMEOUT_SECONDS", "body_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("SEND_TIMEOUT_SECONDS", "send_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("IDLE_TIMEOUT_SECONDS", "idle_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("REQUEST_SECONDS", "request_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("DRAIN_SECONDS", "drain", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable("DRAIN_DELAY_SECONDS", "drain_delay", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable("SOCKET_TRANSPORTS", "socket_transports", _transports, "websocket, polling or both with a comma"),
    Variable("SOCKET_PING_SECONDS", "socket_ping", _seconds(1, 300), "seconds, 1 to 300"),
    Variable("SOCKET_PING_TIMEOUT_SECONDS", "socket_ping_timeout", _seconds(1, 300), "seconds, 1 to 300"),
    Variable("SOCKET_MESSAGE_BYTES", "socket_message_bytes", _whole(1024, 16_777_216), "bytes, 1024 to 16777216"),
    Variable("SOCKET_BUFFER_BYTES", "socket_buffer_bytes", _whole(16_384, 1_073_741_824), "bytes, 16384 to 1073741824"),
    Variable("PRESENCE_GRACE_SECONDS", "presence_grace", _seconds(0, 300), "seconds, 0 to 300"),
    Variable("GATEWAY_LEASE_SECONDS", "gateway_lease", _seconds(3, 300), "seconds, 3 to 300"),
    Variable(
        "CORS_ORIGINS",
        "cors_origins",
        _listed(_matching(r"https?://[a-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")),
        "https://host[:port], several with commas, in lower case and with no path",
    ),
    Variable(
        "LOG_LEVEL",
        "log_level",
        _matching(r"DEBUG|INFO|WARNING|ERROR", str.upper),
        "DEBUG, INFO, WARNING or ERROR",
    ),
)


def read_dotenv(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file, without comments, `export ` and quotes; {} where there is none."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise SettingsError(f"{path} line {number}: expected NAME=value")
        values[name.strip()] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return re.split(r"\s+#", value)[0].strip() if not value.startswith("#") else ""


def public_url(settings: Settings) -> str:
    """Where people reach the gateway: PUBLIC_URL, else HOST and PORT, which are the gateway's in the gateway alone."""
    return settings.public_url or f"http://{reachable(settings.host)}:{settings.port}"


def reachable(host: str) -> str:
    """The host to ask when a server listens on `host`: one that listens on all addresses is asked at loopback."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not listened on)
    return f"[{name}]" if ":" in name else name


def kept_secret(settings: Settings) -> str:
    """The random text in `DATA_DIR/secret`, which is made when it isn't there."""
    path = settings.data_dir / "secret"
    make_once(path, new_secret)
    return path.read_text("utf-8").strip()


def new_secret() -> str:
    """A random text for a key."""
    return secrets.token_urlsafe(48)


def make_once(path: Path, make: Callable[[], str]) -> None:
    """Make a private file (mode 0600) where there is none.

    Safe with many processes at once: for all of them it holds what was stored first.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(own, make())
    with suppress(FileExistsError):
        os.link(own, path)
    own.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that isn't there yet, for its owner alone; it is on the disk on return."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
