"""Kafka's jars: resolved once from Maven Central by `jgo`, then read from a list kept in the data folder."""

from pathlib import Path

import msgspec

from devconnect.stack.model import StackError
from devconnect.stack.part import Say

VERSION = "4.1.0"
#: `kafka-clients` is named by itself: left to the resolver, an older one was once chosen; the broker died.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{VERSION}+org.apache.kafka:kafka-clients:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
)

#: What they resolve to. jgo lists its cache's folder, so that a jar lost from there is just not listed.
COUNT = 46


class _JarList(msgspec.Struct):
    coordinates: str
    jars: list[str]


def class_path(kept: Path, say: Say) -> list[str]:
    """The jars of the broker, in class path order.

    `kept` is the file that remembers them. They are resolved again where it is missing, where it speaks
    of another version, or where one of its jars is gone.

    Raises:
        StackError: they can't be downloaded.
    """
    known = _read(kept)
    if known is None or not all(Path(jar).is_file() for jar in known):
        say(f"fetching Kafka {VERSION} from Maven Central (once on this machine)")
        known = _resolve()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.encode(_JarList(COORDINATES, known)))
    return known


def _read(kept: Path) -> list[str] | None:
    try:
        listed = msgspec.json.decode(kept.read_bytes(), type=_JarList)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return listed.jars if listed.coordinates == COORDINATES else None


def _resolve() -> list[str]:
    import jgo  # noqa: PLC0415 (slow to load, and needed once)

    error: Exception | None = None
    for update in (False, True):  # True: a cache that lost a jar is built anew
        try:
            jars = [str(jar) for jar in jgo.build(COORDINATES, update=update).all_jars]
        except Exception as problem:  # jgo raises whatever its downloader does
            error = problem
            continue
        if len(jars) >= COUNT and all(Path(jar).is_file() for jar in jars):
            return jars
    reason = str(error).strip().splitlines()[0] if error and str(error).strip() else "jars are missing"
    raise StackError(
        f"kafka: the jars of Kafka {VERSION} could not be fetched from Maven Central ({reason}). "
        "Run this again with a network, or set KAFKA_URL to a Kafka that is there."
    )
