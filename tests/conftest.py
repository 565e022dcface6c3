"""The last resort against a test that nothing else ends: the run stops, says where it hung and leaves nothing behind.

pytest-timeout raises in whatever the main thread does, which may be a task that swallows it, or code that must not be
left half-way (a loop that waits for such a task). What still runs GRACE seconds after that ends the whole run; of
processes that run tests side by side (`-n`) the one with the test ends, which fails the test, and another goes on.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import settings

from tests import side_by_side

#: Seconds from a test's own timeout to the end of the run.
GRACE = float(os.environ.get("TESTS_GRACE_SECONDS", "60"))

# Each run makes up the same values, and fails for what was changed. `--hypothesis-profile search` looks for others.
settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("same")

# A shell without job control has what it starts in the background ignore SIGINT, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Prepares a process of a run with `-n`, or the one that starts them."""
    given = getattr(config, "workerinput", None)
    if given is None:
        side_by_side.wait_for_their_end()
    else:
        side_by_side.keep_apart(given["workerid"], given["workercount"])
        side_by_side.interrupt_once()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    seconds = _timeout(item)
    timer = threading.Timer(seconds + GRACE, _end_the_run, (item, seconds)) if seconds else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        return (yield)
    finally:
        if timer is not None:
            timer.cancel()


def _timeout(item: pytest.Item) -> float:
    """Seconds that pytest-timeout gives a test; 0 without a limit."""
    marker = item.get_closest_marker("timeout")
    given = (marker.args[0] if marker.args else marker.kwargs.get("timeout")) if marker else None
    if given is None:
        given = item.config.getoption("timeout")
    return float(item.config.getini("timeout") or 0) if given is None else float(given)


def _end_the_run(item: pytest.Item, seconds: float) -> None:
    try:
        capture = item.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture()
        # Nobody hears what a process beside others says on standard output.
        out = sys.stderr if hasattr(item.config, "workerinput") else sys.stdout
        reporter = item.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.summary_failures()
        hangs = f"{item.nodeid} hangs: not over {GRACE:g} s after its timeout of {seconds:g} s"
        out.write(f"\n{hangs}. Where it is:\n")
        out.flush()
        faulthandler.dump_traceback(file=out)
        # The public `all_tasks` wants the loop, which is the main thread's and isn't known here.
        for task in list(asyncio.tasks._all_tasks):
            if not task.done():
                task.print_stack(file=out)
    finally:
        for child in psutil.Process().children(recursive=True):
            child.kill()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
