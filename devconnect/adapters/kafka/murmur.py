"""Kafka's hash of keys. aiokafka has it byte by byte, which costs more than all else of a send."""

import struct
from functools import cache

_SEED, _FACTOR, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka's clients have it (org.apache.kafka.common.utils.Utils.murmur2), 0 to 2**32 - 1."""
    length = len(data)
    found = _SEED ^ length
    words = length >> 2
    for word in _words(words).unpack_from(data):
        mixed = word * _FACTOR & _MASK
        found = found * _FACTOR & _MASK ^ (mixed ^ mixed >> 24) * _FACTOR & _MASK
    if rest := data[words << 2 :]:
        found = (found ^ int.from_bytes(rest, "little")) * _FACTOR & _MASK
    found = (found ^ found >> 13) * _FACTOR & _MASK
    return found ^ found >> 15


@cache
def _words(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}I")
