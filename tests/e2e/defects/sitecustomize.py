"""A defect for the tests, in any worker of a system that has this folder in its PYTHONPATH.

As long as the file that DEFECT names is there when a process starts, its domain fails at messages that hold the word
"defect" (the decision), and at events that hold the word "unseen" (projections and notifications).
"""

import os
import sys
from collections.abc import Callable
from typing import Any


def _spoil(module: Any, name: str, word: str) -> None:
    real: Callable[..., Any] = getattr(module, name)

    def spoiled(what: Any, *more: Any) -> Any:
        if word in repr(what):
            raise ArithmeticError(f"a defect at {word}")
        return real(what, *more)

    setattr(module, name, spoiled)


if os.path.exists(os.environ.get("DEFECT", "")) and any(part.startswith("workers.") for part in sys.orig_argv):
    from devconnect.domain import messaging, notifications, projections

    _spoil(messaging, "decide", "defect")
    _spoil(notifications, "decide", "unseen")
    if "workers.projections" in sys.orig_argv:
        _spoil(projections, "project", "unseen")
