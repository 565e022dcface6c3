"""Servers that several modules of contract tests share."""

from tests.contract.copier import copier
from tests.contract.kafka_fixtures import broker

__all__ = ["broker", "copier"]
