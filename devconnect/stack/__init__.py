"""The embedded stack: real Kafka, Valkey and a MongoDB-wire server from nothing but pip and Maven Central.

`start` brings up what isn't running, `stop` ends it, `status` looks at it, `addresses` says where it is.
A part whose URL is set in the settings is never started: it is somebody else's, and only looked at.
"""

from devconnect.stack.lifecycle import addresses, start, status, stop
from devconnect.stack.model import Addresses, PartStatus, Progress, StackError

__all__ = ["Addresses", "PartStatus", "Progress", "StackError", "addresses", "start", "status", "stop"]
