"""Servers that several modules of contract tests share."""

from tests.contract.kafka_fixtures import broker

__all__ = ["broker"]
