"""The hash of keys is the one of every other client: a key is on one partition, whoever sends it."""

from aiokafka.partitioner import murmur2 as theirs
from hypothesis import example, given, strategies as st

from devconnect.adapters.kafka.murmur import murmur2


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff" * 7)
@example(b"\xff" * 8)
def test_it_is_the_hash_of_other_clients(data: bytes) -> None:
    assert murmur2(data) == theirs(data)
