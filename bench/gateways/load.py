"""One load on one server: by wrk where it is installed, else by our own generator; either is a process of its own."""

import math
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bench.rig import BenchError, python
from devconnect.runner.plan import ROOT
from devconnect.stack.ports import LOOPBACK

Generator = Literal["wrk", "own"]

#: Seconds that a generator has beside those of its load.
PATIENCE = 30.0


class Load(Struct, frozen=True, kw_only=True):
    """What is sent: requests as they go over the wire, in turn; a connection's next one when its last is answered."""

    port: int
    requests: tuple[bytes, ...]
    connections: int
    seconds: float


class Loaded(Struct, kw_only=True):
    """What came of it. Times are in seconds but for the quantiles, which are in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    #: Kind -> how many: answers of another status than 2xx (of wrk: 4xx and 5xx), connections that were lost.
    failures: dict[str, int] = {}
    #: Seconds of processor time that the generator took.
    processor: float = 0.0


def choose(asked: Generator | None) -> Generator:
    """The generator that was asked for, else wrk where it is on PATH; BenchError when wrk was asked for and isn't."""
    if asked == "wrk" and shutil.which("wrk") is None:
        raise BenchError("wrk isn't on PATH (Debian has it as a package)")
    return asked or ("wrk" if shutil.which("wrk") else "own")


def name_of(generator: Generator) -> str:
    """The generator and its version."""
    if generator == "own":
        return "own"
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()
    return f"wrk {said[1]}" if said[:1] == ["wrk"] and len(said) > 1 else "wrk"


def run(generator: Generator, load: Load, folder: Path) -> Loaded:
    """Do it, with files in `folder`; BenchError when the generator fails, or an answer is not 2xx."""
    folder.mkdir(parents=True, exist_ok=True)
    found = _wrk(load, folder) if generator == "wrk" else _own(load)
    wrong = {kind: count for kind, count in found.failures.items() if count}
    if wrong:
        raise BenchError("under load: " + ", ".join(f"{kind} {count}" for kind, count in wrong.items()))
    if not found.requests:
        raise BenchError("under load nothing was answered")
    return found


def _own(load: Load) -> Loaded:
    return _last_line(_outcome(python("bench.gateways.generator"), load.seconds, msgspec.json.encode(load)))


def _wrk(load: Load, folder: Path) -> Loaded:
    script = folder / "load.lua"
    script.write_text(lua(load.requests), "ascii")
    seconds = math.ceil(load.seconds)  # it knows no others
    where = f"http://{LOOPBACK}:{load.port}/"
    timeout = f"--timeout={round(PATIENCE)}s"
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", timeout, "--latency", "-s", str(script), where]
    before = _children()
    found = _last_line(_outcome(command, seconds, b""))
    found.processor = _children() - before
    return found


def _outcome(command: list[str], seconds: float, said: bytes) -> bytes:
    try:
        done = subprocess.run(
            command, input=said, capture_output=True, check=False, cwd=ROOT, timeout=seconds + PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise BenchError("the generator doesn't come to an end") from None
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise BenchError(f"the generator failed: {words[-1] if words else f'status {done.returncode}'}")
    return done.stdout


def _last_line(output: bytes) -> Loaded:
    lines = output.strip().splitlines()
    try:
        return msgspec.json.decode(lines[-1] if lines else b"", type=Loaded)
    except msgspec.DecodeError as error:
        raise BenchError(f"the generator's report can't be read: {error}") from None


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lua(requests: tuple[bytes, ...]) -> str:
    """A script for wrk that sends these and reports as `Loaded`. wrk counts in microseconds."""
    texts = ",\n".join(f'"{_escaped(each)}"' for each in requests)
    return f"""\
local requests = {{
{texts}
}}
local last, count = 0, #requests

function request()
  last = last % count + 1
  return requests[last]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{{"requests":%d,"seconds":%.6f,"p50_ms":%.6f,"p99_ms":%.6f,"failures":'
      .. '{{"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}}}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
"""


def _escaped(text: bytes) -> str:
    """As between the quotes of a Lua text."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in text)
