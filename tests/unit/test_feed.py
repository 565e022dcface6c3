"""Who is to be met first, and where they are by their activity."""

from hypothesis import given, strategies as st

from devconnect.domain.feed import DAY_MS, activity, ranked

NOON = 1_700_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
names = st.text("abcdef", min_size=1, max_size=2)
times = st.integers(NOON, NOON + 3 * DAY_MS)
holders = st.dictionaries(names, st.integers(0, 3).map(float), max_size=12)


@given(st.lists(holders, max_size=6), st.sets(names, max_size=4))
def test_the_ranking_is_by_shared_skills_then_activity_then_id_of_all_that_are_not_left_out(skills, without):
    found = ranked(skills, without)
    everybody = {user for each in skills for user in each} - without
    assert len(found) == len(set(found)) == len(everybody)

    def rank(user: str) -> tuple[int, float, str]:
        mine = [each[user] for each in skills if user in each]
        return -len(mine), -max(mine), user

    assert found == sorted(everybody, key=rank)


def test_one_who_shares_more_comes_before_one_who_was_here_later():
    assert ranked([{"ann": 1.0, "bob": 9.0}, {"ann": 1.0}], ()) == ["ann", "bob"]


@given(times, names, names)
def test_an_activity_is_that_time_to_the_millisecond_and_survives_being_written(at, one, other):
    assert int(activity(at, one)) == at
    assert float(repr(activity(at, one))) == activity(at, one)
    assert activity(at, one) < activity(at + 1, other)


def test_people_who_come_at_once_are_in_places_of_their_own():
    assert len({activity(NOON, f"user-{n}") for n in range(1000)}) > 500
