"""Commands with many ids, as they go over the wire: packed in one piece, since hiredis takes its time for each word."""

from collections.abc import Sequence

from devconnect.adapters.redis.line import AnyCommand

#: Characters of an id.
_LENGTH = 32


def packed(words: Sequence[str], ids: Sequence[str], before: str = "", after: str = "") -> AnyCommand:
    """The command of these words and then an id each, between `before` and `after`; as bytes where these are ids."""
    joined = "".join(ids)
    if not joined.isascii() or set(map(len, ids)) != {_LENGTH}:
        return (*words, *(f"{before}{each}{after}" for each in ids))
    head = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    size = len(before.encode()) + _LENGTH + len(after.encode())
    first, between = f"${size}\r\n{before}", f"{after}\r\n${size}\r\n{before}"
    return f"*{len(words) + len(ids)}\r\n{head}{first}{between.join(ids)}{after}\r\n".encode()
