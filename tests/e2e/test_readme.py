"""The README's first requests, line by line as they stand there, and its links."""

import json
import re
import subprocess

import pytest

from devconnect.runner.plan import ROOT
from tests.e2e.system import System

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_requests_lead_from_sign_up_to_a_read_message(system: System) -> None:
    [script] = [block for block in BLOCKS if "/v1/sessions" in block]
    done = subprocess.run(
        ["bash"],
        input=script,
        env={**system.env, "URL": system.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    requested, accepted, conversation, read = (json.loads(line) for line in done.stdout.splitlines())
    assert (requested["state"], accepted["state"]) == ("requested", "accepted")
    [message] = conversation["items"]
    assert message["text"] == "Hello, Bob!"
    assert read == {"peer": message["sender"], "delivered": message["seq"], "read": message["seq"], "unread": 0}


@pytest.mark.parametrize("page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))])
def test_every_link_between_pages_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text("utf-8")):
        assert "://" in link or ((ROOT / page).parent / link).exists(), link
