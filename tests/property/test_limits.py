"""The limits depend on the bad offsets alone, and let no more through than they say."""

from hypothesis import given, strategies as st

from devconnect.domain.limits import Limits

offsets = st.sets(st.integers(0, 120), max_size=80).map(sorted)
limits = st.builds(Limits, run=st.integers(1, 12), share=st.integers(1, 100), window=st.integers(10, 40))


def too_many(bad: set[int], offset: int, of: Limits) -> bool:
    """The rule in so many words."""
    run = next(n for n in range(len(bad) + 1) if offset - n not in bad)
    window = sum(offset - of.window < each <= offset for each in bad)
    return run > of.run or window > max(1, of.window * of.share // 100)


@given(offsets, limits, st.integers(0, 120))
def test_the_first_that_is_too_many_is_found(bad: list[int], of: Limits, since: int) -> None:
    expected = [offset for offset in bad if offset >= since and too_many(set(bad), offset, of)]
    assert of.exceeded(bad, since) == (expected[0] if expected else None)


@given(offsets, limits, st.integers(0, 120))
def test_what_lies_further_back_than_the_reach_changes_nothing(bad: list[int], of: Limits, since: int) -> None:
    near = [offset for offset in bad if offset >= since - of.reach]
    assert of.exceeded(near, since) == of.exceeded(bad, since)


@given(st.integers(0, 10**12), limits)
def test_one_bad_record_never_is(offset: int, of: Limits) -> None:
    assert of.exceeded([offset], 0) is None
