"""The README's first requests work as they stand there."""

import json
import re
import subprocess

from devconnect.runner.plan import ROOT
from tests.e2e.system import System


def script() -> str:
    """The block of the README's section on first requests."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## First requests\n")[2].partition("\n## ")[0]
    [block] = re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)
    return str(block)


def test_the_first_requests_end_with_a_message_that_was_read(system: System) -> None:
    default = "http://127.0.0.1:8000"
    assert default in script()
    done = subprocess.run(
        ["bash"],
        input=script().replace(default, system.url),
        env={name: value for name, value in system.env.items() if name != "URL"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    *_, history, marked = map(json.loads, done.stdout.splitlines())
    [message] = history["items"]
    assert message["text"] == "Hello, Bob!"
    assert marked == {"peer": message["sender"], "delivered": message["seq"], "read": message["seq"]}
