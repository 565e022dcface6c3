"""Commands and events as hypothesis makes them."""

import string

from hypothesis import strategies as st

from devconnect.events import facts as f
from devconnect.events.base import SEQ_STRIDE, pair_id, seq_of

USERS = ("ann", "bob", "cem", "dea")
users = st.sampled_from(USERS)
pairs = st.tuples(users, users).filter(lambda pair: pair[0] != pair[1])
texts = st.text(string.printable, min_size=1, max_size=20)
times = st.integers(1_700_000_000_000, 1_700_010_000_000)
profiles = st.builds(f.Profile, name=texts, skills=st.lists(texts, max_size=3).map(tuple))


def _common(offset: int, at: int) -> dict[str, object]:
    return {"id": f"c{offset}.0", "seq": seq_of(offset), "at": at}


@st.composite
def message_events(draw, offset: int):
    sender, recipient = draw(pairs)
    common = _common(offset, draw(times))
    conversation = pair_id(sender, recipient)
    if draw(st.booleans()):
        return f.MessageSent(
            **common,
            conversation=conversation,
            message=f"c{offset}",
            sender=sender,
            recipient=recipient,
            text=draw(texts),
            previous=draw(st.integers(0, offset * SEQ_STRIDE)),
        )
    kind = draw(st.sampled_from((f.MessageDelivered, f.MessageRead)))
    return kind(**common, conversation=conversation, user=sender, up_to=draw(st.integers(1, 2**40)))


@st.composite
def connection_events(draw, offset: int):
    by, other = draw(pairs)
    kind = draw(
        st.sampled_from(
            (
                f.ConnectionRequested,
                f.ConnectionIgnored,
                f.ConnectionAccepted,
                f.ConnectionRejected,
                f.ConnectionRemoved,
            )
        )
    )
    return kind(**_common(offset, draw(times)), by=by, other=other)


@st.composite
def user_events(draw, offset: int):
    user = draw(users)
    common = {**_common(offset, draw(times)), "user": user}
    return draw(
        st.sampled_from(
            (
                f.UserSignedUp(**common, email=f"{user}@x", profile=draw(profiles), tier="free", role="member"),
                f.UserLoggedIn(**common, session="s", expires_at=2**41, device=""),
                f.UserLoggedOut(**common, session="s"),
                f.ProfileChanged(**common, profile=draw(profiles)),
                f.TierChanged(**common, tier="gold"),
                f.RoleChanged(**common, role="analyst"),
                f.UserCameOnline(**common, session="s", until=2**41),
                f.UserWentOffline(**common, session="s"),
                f.NotificationsRead(**common, notifications=("n",)),
            )
        )
    )


def event_logs(max_size: int = 30):
    """The log of one partition: events of rising seq."""
    kinds = st.sampled_from((message_events, connection_events, user_events))
    return st.lists(kinds, max_size=max_size).flatmap(
        lambda makers: st.tuples(*(make(number) for number, make in enumerate(makers)))
    )
