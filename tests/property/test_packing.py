"""A command that is packed in one piece is, byte for byte, what hiredis makes of it."""

from typing import Any, cast

from hiredis import pack_command
from hypothesis import given, strategies as st

from devconnect.adapters.redis.packing import packed

_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
_texts = st.text(max_size=40)


@given(
    words=st.lists(_texts, min_size=1, max_size=3),
    ids=st.lists(_ids | st.text("é\r\n0", min_size=31, max_size=33), min_size=1, max_size=6),
    before=_texts,
    after=_texts,
)
def test_it_is_what_hiredis_sends(words: list[str], ids: list[str], before: str, after: str) -> None:
    found = packed(words, ids, before, after)
    command: Any = (*words, *(before + each + after for each in ids))
    sent = found if isinstance(found, bytes) else pack_command(cast(Any, found))
    assert sent == pack_command(command)


@given(st.lists(_ids, min_size=1, max_size=200))
def test_ids_are_packed_in_one_piece(ids: list[str]) -> None:
    assert isinstance(packed(("MGET",), ids, "dc:{", "}:online"), bytes)
