"""A test that swallows its timeout ends the run, or its process of it, by name and leaves no process behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

HANGS = """
import asyncio, subprocess, sys

async def test_fails_first():
    assert "the first" == "failure"

async def test_swallows():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("child", child.pid, file=open("child", "w"))
    while True:
        try:
            await asyncio.sleep(600)
        except BaseException:
            pass
"""


def run(folder: Path, *options: str, hangs: str = HANGS) -> "subprocess.CompletedProcess[str]":
    """A run of pytest on one file of tests, with the last resort."""
    (folder / "test_hangs.py").write_text(hangs)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\ntimeout = 1\n")
    environment = {**os.environ, "TESTS_GRACE_SECONDS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def nobody_is_left(folder: Path) -> bool:
    """Whether the child of the test that hangs is gone, or soon is: it was killed, which takes a moment."""
    _, pid = (folder / "child").read_text().split()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_test_that_swallows_its_timeout_ends_the_run(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert found.returncode == 1
    assert "test_hangs.py::test_swallows hangs: not over 1 s after its timeout of 1 s" in found.stdout
    assert "assert 'the first' == 'failure'" in found.stdout
    assert "in test_swallows" in found.stdout
    assert nobody_is_left(tmp_path)


def test_side_by_side_it_ends_its_process_and_fails_and_the_others_go_on(tmp_path: Path) -> None:
    found = run(tmp_path, "-n", "1", hangs=f"{HANGS}\ndef test_comes_after(): pass\n")
    assert found.returncode == 1
    assert "test_hangs.py::test_swallows hangs: not over 1 s after its timeout of 1 s" in found.stderr
    assert "in test_swallows" in found.stderr
    assert "crashed while running 'test_hangs.py::test_swallows'" in found.stdout
    assert "assert 'the first' == 'failure'" in found.stdout
    assert " 1 passed in " in found.stdout
    assert nobody_is_left(tmp_path)
