"""What the embedded Kafka is told on its command line."""

import uuid

from devconnect.stack.kafka import new_cluster_id


def test_a_cluster_id_never_looks_like_an_option() -> None:
    dash, fine = uuid.UUID(bytes=b"\xf8" + bytes(15)), uuid.UUID(bytes=bytes(16))
    draws = iter([dash, dash, fine])
    assert new_cluster_id(lambda: next(draws)) == "A" * 22
