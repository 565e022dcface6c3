"""From each event to what changes in the read models."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, strategies as st

from devconnect.domain import projections as p
from devconnect.domain.accounts import evolve
from devconnect.domain.model import Ref, Snapshot, User, ref_of
from devconnect.events import facts as f
from tests.property.strategies import event_logs
from tests.unit.test_notifications import KINDS, SAMPLES

AT, SEQ = 1_700_000_000_000, 2048
PROFILE = msgspec.json.encode(SAMPLES["user.signed_up"].profile).decode()
PRIVACY = msgspec.json.encode(SAMPLES["user.privacy_changed"].privacy).decode()
PREFERENCES = msgspec.json.encode(SAMPLES["user.notification_preferences_changed"].preferences).decode()
AT_FIRST = msgspec.json.encode(f.NotificationPreferences()).decode()
OPEN_TO_ALL = msgspec.json.encode(f.Privacy()).decode()
EXPIRES, ENDS = 1_701_209_600_000, 1_707_776_000_000
OPENED = p.PutSession("s1", "ann", EXPIRES, ENDS, "analyst", SEQ)
MOVED = p.MoveSession("s1", "ann", EXPIRES, SEQ)
CLOSED = p.EndSession("s1", "ann", SEQ)
LISTED = p.ListUser("ann", SAMPLES["user.signed_up"].profile.skills, AT, SEQ)
TOUCHED = p.TouchUser("ann", AT)


def relation(state: Any) -> tuple[p.Update, ...]:
    """Both see the same, each from their own side."""
    return (
        p.PutRelation("ann", "bob", state, "ann", AT, SEQ),
        p.PutRelation("bob", "ann", state, "ann", AT, SEQ),
    )


def put(**fields: str) -> tuple[p.Update, ...]:
    """What people see of ann has changed."""
    return (p.PutUser("ann", SEQ, {**fields, "updated_at": str(AT)}),)


#: Nothing of it is seen, but the account's seq is what changes of it are bound to.
UNSEEN: tuple[p.Update, ...] = (p.PutUser("ann", SEQ, {}),)


def changed(text: str, **more: Any) -> p.AppendMessage:
    """What ann had said, as it is since."""
    return p.AppendMessage("ann.bob", 1536, 1280, "c5", "ann", "bob", text, AT - 1000, **more)


#: What changes an account, but for its beginning.
ACCOUNT_EVENTS: list[Any] = [
    SAMPLES[name]
    for name in (
        "user.profile_changed",
        "user.privacy_changed",
        "user.notification_preferences_changed",
        "user.tier_changed",
        "user.role_changed",
        "user.password_changed",
        "user.password_reset_requested",
        "user.email_verification_requested",
        "user.email_verified",
        "user.email_changed",
        "user.deleted",
    )
]
#: What each event type leads to; see the golden records for the events.
UPDATES: dict[str, tuple[p.Update, ...]] = {
    "user.signed_up": (
        *put(
            email="ann@x.org",
            email_verified="0",
            tier="free",
            role="member",
            created_at=str(AT),
            profile=PROFILE,
            privacy=OPEN_TO_ALL,
            notification_preferences=AT_FIRST,
        ),
        LISTED,
    ),
    "user.deleted": (
        p.DelUser(
            "ann",
            SEQ,
            {
                "email": "",
                "email_verified": "0",
                "tier": "free",
                "role": "member",
                "created_at": "0",
                "updated_at": str(AT),
                "profile": msgspec.json.encode(f.Profile(name="Deleted account")).decode(),
                "privacy": OPEN_TO_ALL,
                "notification_preferences": AT_FIRST,
                "deleted": "1",
            },
        ),
        p.UnlistUser("ann", SEQ),
    ),
    "user.logged_in": (OPENED, TOUCHED),
    "user.session_renewed": (MOVED,),
    "user.password_changed": UNSEEN,
    "user.password_reset_requested": UNSEEN,
    "user.email_verification_requested": UNSEEN,
    "user.email_verified": put(email_verified="1"),
    "user.email_changed": put(email="ann@y.org", email_verified="1"),
    "user.privacy_changed": (
        *put(privacy=PRIVACY),
        p.HideUser("ann", not SAMPLES["user.privacy_changed"].privacy.discoverable, SEQ),
        p.SetAudience("ann", SAMPLES["user.privacy_changed"].privacy.presence, SEQ),
    ),
    "user.notification_preferences_changed": put(notification_preferences=PREFERENCES),
    "user.notifications_seen": (p.MarkNotificationsSeen("ann", "1700000000000-c7.0"),),
    "user.logged_out": (CLOSED, p.SetPresence("ann", "s1", 0, AT, SEQ)),
    "user.profile_changed": (*put(profile=PROFILE), LISTED),
    "user.tier_changed": put(tier="gold"),
    "user.role_changed": put(role="analyst"),
    "user.came_online": (p.SetPresence("ann", "s1", AT + 60_000, AT, SEQ), TOUCHED),
    "user.went_offline": (p.SetPresence("ann", "s1", 0, AT, SEQ),),
    "user.notifications_read": (p.MarkNotificationsRead("ann", ("1700000000000-c7.0",), AT),),
    **{name: () for name in KINDS if issubclass(KINDS[name], f.ChannelEvent)},
    "connection.requested": relation("requested"),
    "connection.ignored": relation("ignored"),
    "connection.accepted": relation("accepted"),
    "connection.rejected": relation("rejected"),
    "connection.removed": relation("removed"),
    "connection.withdrawn": relation("removed"),
    "connection.blocked": (
        p.PutRelation("ann", "bob", "blocked", "ann", AT, SEQ),
        p.PutRelation("bob", "ann", "barred", "ann", AT, SEQ),
    ),
    "connection.unblocked": relation("removed"),
    "connection.reported": (),
    "connection.report_closed": (),
    "message.sent": (
        p.AppendMessage("ann.bob", SEQ, 1792, "c7", "ann", "bob", "Hello", AT),
        p.PutUnread("ann.bob", "bob", SEQ),
        p.PutTalk("ann", "bob", AT),
        p.PutTalk("bob", "ann", AT),
    ),
    "message.edited": (p.ReplaceMessage(changed("Hallo", edited_at=AT), SEQ),),
    "message.deleted": (p.ReplaceMessage(changed("", deleted=True), SEQ), p.PutUnread("ann.bob", "bob", 1536, True)),
    "message.delivered": (p.MovePosition("ann.bob", "bob", SEQ, 0),),
    "message.read": (p.MovePosition("ann.bob", "bob", SEQ, SEQ),),
    "notification.raised": (
        p.AddNotification(
            "bob",
            "1700000000000-c7.0",
            "message_received",
            {"user": "ann", "conversation": "ann.bob", "message": "c7"},
            AT,
        ),
    ),
}
#: Done at once by the command agent; the rest waits for the projections.
SESSIONS: dict[str, tuple[p.Update, ...]] = {
    "user.logged_in": (OPENED,),
    "user.session_renewed": (MOVED,),
    "user.logged_out": (CLOSED,),
    "user.role_changed": UPDATES["user.role_changed"],
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_event_leads_to_its_updates(name: str) -> None:
    assert p.project(SAMPLES[name]) == UPDATES[name]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_only_log_ins_renewals_log_outs_and_roles_are_done_at_once(name: str) -> None:
    assert p.sessions(SAMPLES[name]) == SESSIONS.get(name, ())


@given(event_logs())
def test_what_is_done_at_once_is_done_again_by_the_projections(log: tuple[f.AnyEvent, ...]) -> None:
    """So that nothing is lost when Redis is down while a command is decided."""
    for event in log:
        assert set(map(repr, p.sessions(event))) <= set(map(repr, p.project(event)))


def test_every_kind_of_update_has_an_event_that_leads_to_it() -> None:
    assert {type(update) for updates in UPDATES.values() for update in updates} == set(get_args(p.Update))


@given(st.lists(st.sampled_from(ACCOUNT_EVENTS), max_size=12))
def test_both_stores_show_the_same_account(events: list[f.AnyUserEvent]) -> None:
    """Its fields, and its seq: a change is bound to the seq that was read, wherever it was."""
    state: Snapshot = {}
    fields: dict[str, str] = {}
    seq = 0
    for number, sample in enumerate([SAMPLES["user.signed_up"], *events], 1):
        event = msgspec.structs.replace(sample, seq=number, at=AT + number)
        state |= {ref_of(document): document for document in evolve(state, event)}
        for update in p.project(event):
            if isinstance(update, p.PutUser | p.DelUser):
                fields |= update.fields
                seq = update.seq
    user = state[Ref("user", "ann")]
    assert isinstance(user, User)
    assert seq == user.seq
    assert {name: text for name, text in fields.items() if name != "deleted"} == {
        "email": user.email,
        "email_verified": str(int(user.email_verified)),
        "tier": user.tier,
        "role": user.role,
        "created_at": str(user.created_at),
        "updated_at": str(user.updated_at),
        "profile": msgspec.json.encode(user.profile).decode(),
        "privacy": msgspec.json.encode(user.privacy).decode(),
        "notification_preferences": msgspec.json.encode(user.notification_preferences).decode(),
    }
    assert (fields.get("deleted") == "1") == user.deleted


@given(event_logs())
def test_an_update_that_may_be_overtaken_carries_the_seq_of_its_event(log: tuple[f.AnyEvent, ...]) -> None:
    for event in log:
        for update in p.project(event):
            assert getattr(update, "seq", event.seq) == event.seq


def test_who_blocks_each_other_goes_on_seeing_their_own_block() -> None:
    blocked = f.UserBlocked(id="c7.0", seq=SEQ, at=AT, by="ann", other="bob", mutual=True)
    assert p.project(blocked) == (p.PutRelation("ann", "bob", "blocked", "ann", AT, SEQ),)
    unblocked = f.UserUnblocked(id="c7.0", seq=SEQ, at=AT, by="ann", other="bob", mutual=True, rejected_by="bob")
    assert p.project(unblocked) == (p.PutRelation("ann", "bob", "barred", "bob", AT, SEQ),)


def test_a_rejection_shows_again_once_a_block_is_taken_back() -> None:
    unblocked = f.UserUnblocked(id="c7.0", seq=SEQ, at=AT, by="ann", other="bob", rejected_by="bob")
    assert p.project(unblocked) == (
        p.PutRelation("ann", "bob", "rejected", "bob", AT, SEQ),
        p.PutRelation("bob", "ann", "rejected", "bob", AT, SEQ),
    )
