"""Python imports this by itself where its folder is in PYTHONPATH: what a worker had in hand is sent by others sooner.

It is not so soon that a busy machine sends twice what is only slow.
"""

import sys

if "workers.notifications" in sys.orig_argv:
    from agents.delivering import Sender

    Sender.__init__.__kwdefaults__["lease_ms"] = 15_000
