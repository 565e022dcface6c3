"""Who is to be met first, and where they are by their activity."""

from hypothesis import given, strategies as st

from devconnect.domain.feed import DAY_MS, Candidate, activity, ranked

NOON = 1_700_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
names = st.text("abcdef", min_size=1, max_size=2)
times = st.integers(NOON, NOON + 3 * DAY_MS)
skills = st.sets(st.sampled_from("vwxyz"))
candidates = st.lists(
    st.builds(Candidate, names, st.integers(0, 3).map(float), skills.map(tuple)), unique_by=lambda each: each.user
)


@given(skills, candidates)
def test_the_ranking_is_by_shared_skills_then_activity_then_id_of_all_who_share_any(mine, people):
    shared = {each.user: len(mine & set(each.skills)) for each in people}
    active = {each.user: each.active for each in people}
    expected = sorted(shared, key=lambda user: (-shared[user], -active[user], user))
    assert ranked(mine, people) == [user for user in expected if shared[user]]


def test_one_who_shares_more_comes_before_one_who_was_here_later():
    ann, bob = Candidate("ann", 1.0, ("go", "python")), Candidate("bob", 9.0, ("python", "perl", "c"))
    assert ranked(("python", "go"), [bob, ann]) == ["ann", "bob"]


@given(times, names, names)
def test_an_activity_is_that_time_to_the_millisecond_and_survives_being_written(at, one, other):
    assert int(activity(at, one)) == at
    assert float(repr(activity(at, one))) == activity(at, one)
    assert activity(at, one) < activity(at + 1, other)


def test_people_who_come_at_once_are_in_places_of_their_own():
    assert len({activity(NOON, f"user-{n}") for n in range(1000)}) > 500
