"""One `up` or `down` at a time for each data folder."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devconnect.stack.model import StackError


@contextmanager
def exclusive(data_dir: Path, patience: float = 120.0) -> Iterator[None]:
    """Holds the data folder's lock; the system lets go of it when this process ends, however it ends.

    Raises:
        StackError: somebody else has held it for `patience` seconds, or the folder can't be written.
    """
    path = data_dir / "run" / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise StackError(f"the data folder can't be written ({error}); set DATA_DIR to another one") from None
    with file:
        deadline = time.monotonic() + patience
        while not _taken(file.fileno()):
            if time.monotonic() > deadline:
                raise StackError(f"another `up` or `down` holds {path} since {patience:g} s; wait for its end")
            time.sleep(0.05)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
