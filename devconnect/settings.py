"""Every setting, read from environment variables (and `.env`) once, at a process's start."""

import ipaddress
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

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
    #: Key that signs sessions; None: `signing_key` makes one in the data folder.
    jwt_secret: str | None = None
    #: Seconds that a session's token is good for.
    token_lifetime: int = 86_400
    #: Cost of hashing a password (argon2id): passes, KiB of memory, lanes.
    argon2_time_cost: int = 2
    argon2_memory_kib: int = 19_456
    argon2_parallelism: int = 1
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
    #: Origins of pages that may ask with a browser's cookies, each as browsers send it.
    cors_origins: tuple[str, ...] = ()
    #: Where people reach the gateway, without a slash at the end.
    public_url: str | None = None
    #: Networks of the proxies whose word on a client's address is taken.
    trusted_proxies: tuple[Network, ...] = ()
    #: Least severe log line that is written: DEBUG, INFO, WARNING or ERROR.
    log_level: str = "INFO"

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
        except ValueError:
            shown = "…" if self.field == "jwt_secret" else repr(raw)
            raise SettingsError(f"{self.name} is {shown}: expected {self.expects}") from None


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


def _kafka(raw: str) -> str:
    servers = raw.removeprefix("kafka://").rstrip("/")
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        if not re.fullmatch(r"[\w.\-]+|\[[0-9a-fA-F:.]+\]", host) or not 0 < int(port) < 65_536:
            raise ValueError(raw)
    return servers


def _listed(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Items with commas between them, each as `parse` has it."""
    return lambda raw: tuple(parse(item.strip()) for item in raw.split(",") if item.strip())


def _networks(raw: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in raw.split(","))


def _without_slash(raw: str) -> str:
    return raw.rstrip("/")


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
    Variable("JWT_SECRET", "jwt_secret", _matching(r".{32,}"), "a random text of at least 32 characters"),
    Variable("TOKEN_LIFETIME_SECONDS", "token_lifetime", _whole(1, 31_536_000), "seconds, 1 to 31536000"),
    Variable("ARGON2_TIME_COST", "argon2_time_cost", _whole(1, 100), "a whole number, 1 to 100"),
    Variable("ARGON2_MEMORY_KIB", "argon2_memory_kib", _whole(8, 4_194_304), "KiB, 8 to 4194304"),
    Variable("ARGON2_PARALLELISM", "argon2_parallelism", _whole(1, 64), "a whole number, 1 to 64"),
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
    Variable("GATEWAY_PROCESSES", "processes", _whole(1, 64), "a whole number, 1 to 64"),
    Variable("GATEWAY_CONNECTIONS", "connections", _whole(1, 1_000_000), "a whole number, 1 to 1000000"),
    Variable("HEAD_TIMEOUT_SECONDS", "head_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("BODY_TIMEOUT_SECONDS", "body_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("SEND_TIMEOUT_SECONDS", "send_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("IDLE_TIMEOUT_SECONDS", "idle_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("REQUEST_SECONDS", "request_timeout", _seconds(0.1, 3600), "seconds, 0.1 to 3600"),
    Variable("DRAIN_SECONDS", "drain", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable("DRAIN_DELAY_SECONDS", "drain_delay", _seconds(0, 3600), "seconds, 0 to 3600"),
    Variable(
        "CORS_ORIGINS",
        "cors_origins",
        _listed(_matching(r"https?://[a-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")),
        "https://host[:port], several with commas, in lower case and with no path",
    ),
    Variable("PUBLIC_URL", "public_url", _matching(r"https?://[^\s/?#@]+", _without_slash), "http(s)://host[:port]"),
    Variable("TRUSTED_PROXIES", "trusted_proxies", _networks, "networks such as 10.0.0.0/8,2001:db8::/32"),
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


def signing_key(settings: Settings) -> str:
    """The key that signs sessions: JWT_SECRET, or a random one kept in `DATA_DIR/secret` (mode 0600).

    Safe with many processes at once: all of them get the one that was stored first.
    """
    if settings.jwt_secret:
        return settings.jwt_secret
    path = settings.data_dir / "secret"
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text().strip()
