"""Commands and events as hypothesis makes them."""

import string
from typing import get_args

from hypothesis import strategies as st

from devconnect.events import facts as f
from devconnect.events.base import SEQ_STRIDE, EndReason, pair_id, seq_of

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
    if draw(st.booleans()):
        of = {"of": seq_of(draw(st.integers(0, offset))), "message": f"c{offset}", "sender": sender}
        if draw(st.booleans()):
            return f.MessageEdited(**common, conversation=conversation, **of, text=draw(texts))
        return f.MessageDeleted(**common, conversation=conversation, **of)
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
                f.RequestWithdrawn,
                f.UserBlocked,
                f.UserUnblocked,
                f.UserReported,
                f.ReportClosed,
            )
        )
    )
    if kind is f.UserReported:
        return kind(**_common(offset, draw(times)), by=by, other=other, report=f"c{offset}", reason="spam")
    if kind is f.ReportClosed:
        closed = {"report": "c0", "operator": "olga", "outcome": "read"}
        return kind(**_common(offset, draw(times)), by=by, other=other, **closed)
    return kind(**_common(offset, draw(times)), by=by, other=other)


@st.composite
def user_events(draw, offset: int):
    user = draw(users)
    common = {**_common(offset, draw(times)), "user": user}
    return draw(
        st.sampled_from(
            (
                f.UserSignedUp(**common, email=f"{user}@x", profile=draw(profiles), tier="free", role="member"),
                f.UserLoggedIn(**common, session="s", expires_at=2**41, device="", ends_at=2**42, role="analyst"),
                f.SessionRenewed(**common, session="s", expires_at=2**41, generation=1),
                f.UserLoggedOut(**common, session="s", reason=draw(st.sampled_from(get_args(EndReason)))),
                f.PasswordChanged(**common, reset=draw(st.booleans())),
                f.PasswordResetRequested(**common, ticket="t", email=f"{user}@x", expires_at=2**41),
                f.EmailVerificationRequested(**common, ticket="t", email=f"{user}@y", expires_at=2**41),
                f.EmailVerified(**common, email=f"{user}@x"),
                f.EmailChanged(**common, email=f"{user}@y", before=f"{user}@x"),
                f.ProfileChanged(**common, profile=draw(profiles)),
                f.PrivacyChanged(**common, privacy=f.Privacy(discoverable=draw(st.booleans()))),
                f.TierChanged(**common, tier="gold", before="free"),
                f.RoleChanged(**common, role="analyst", before="member"),
                f.UserDeleted(**common, email=f"{user}@x"),
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
