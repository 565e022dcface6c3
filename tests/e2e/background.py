"""What goes on beside a test, in threads."""

import threading
from collections.abc import Sized
from typing import Self

from tests.waiting import PATIENCE, wait_until


class Background:
    """Does one `step` after the other, in a thread of its own, in a `with` block; what fails there fails the block."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._trouble: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def more(self, of: Sized, count: int) -> None:
        """Wait until there are so many more of them."""
        wanted = len(of) + count
        wait_until(lambda: len(of) >= wanted or self._trouble, PATIENCE, f"{count} more")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()
        assert not self._trouble, self._trouble

    def _run(self) -> None:
        try:
            while not self.over.is_set():
                self.step()
        except BaseException as error:
            self._trouble.append(error)
