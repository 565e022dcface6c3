"""A test that swallows its timeout ends the run all the same, by name and without leaving a process behind."""

import os
import subprocess
import sys
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


def test_a_test_that_swallows_its_timeout_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\ntimeout = 1\n")
    environment = {**os.environ, "TESTS_GRACE_SECONDS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert "test_hangs.py::test_swallows hangs: not over 1 s after its timeout of 1 s" in run.stdout
    assert "assert 'the first' == 'failure'" in run.stdout
    assert "in test_swallows" in run.stdout
    _, pid = (tmp_path / "child").read_text().split()
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
