"""The MongoDB-wire server over SQLite (`nx-27017`), kept in the foreground of a process of its own."""

import sys
from importlib.metadata import version
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from devconnect.stack.part import Launch, NotReadyError, Part, Request
from devconnect.stack.ports import LOOPBACK


class Mongo(Part):
    name = "mongo"
    url_variable = "MONGO_URL"
    port_variable = "MONGO_PORT"
    scheme = "mongodb://"

    @property
    def url(self) -> str | None:
        return self.settings.mongo_url

    @property
    def wanted_port(self) -> int:
        return self.settings.mongo_port

    def prepare(self, request: Request) -> Launch:
        # It refuses to start while its pid file names a live pid, also after kill -9 and a reuse of that pid.
        self._pid_file.unlink(missing_ok=True)
        return Launch(self._command(request.port))

    @property
    def _pid_file(self) -> Path:
        return self.settings.data_dir / "run" / "nx-27017.pid"

    def _command(self, port: int) -> list[str]:
        # Without these two files named, it would write them outside the data folder.
        return [
            *(sys.executable, "-c", "from nx_27017.nx_27017 import main; main()"),
            *("--data-dir", str(self.folder)),
            *("--host", LOOPBACK, "--port", str(port)),
            *("--journal-mode", "WAL"),
            *("--log-file", "/dev/null", "--pid-file", str(self._pid_file)),
        ]

    def check(self, address: str, timeout: float) -> str:
        try:
            with MongoClient[dict[str, object]](
                address,
                serverSelectionTimeoutMS=int(timeout * 1000),
                connectTimeoutMS=int(timeout * 1000),
                socketTimeoutMS=int(timeout * 1000),
            ) as client:
                client.admin.command("ping")
                return f"MongoDB {client.server_info().get('version', '(version unknown)')}"
        except PyMongoError as error:
            raise NotReadyError(str(error).split(", Timeout:")[0]) from None

    def embedded_version(self) -> str:
        return f"nx-27017 {version('nx-27017')}"
