"""Accounts: what each user command leads to, and what it is refused for. Sessions have tests of their own."""

import json
from typing import Any

import msgspec
import pytest

from devconnect.domain import accounts
from devconnect.domain.model import AnyDocument, Audit, Channels, Logins, PushSubscription, Ref, User, Webhook, ref_of
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of
from tests.unit.account_samples import (
    ANN,
    AT,
    DAY,
    GONE,
    HOUR,
    OPERATOR_STAMP,
    PROFILE,
    STAMP,
    SYSTEM_STAMP,
    after,
    changed,
    code,
    decide,
    fact,
    login,
    logins,
    snapshot,
    tags,
    ticket,
)

SIGN_UP = c.SignUp(
    **STAMP,
    user="ann",
    email="ann@x",
    password_hash="secret-hash",
    name="Ann",
    headline="Compilers",
    about="Parsers.",
    photo_url="https://x/a.png",
    skills=("python",),
)
QUIET = f.NotificationPreferences(time_zone="Europe/Berlin", quiet_hours=f.QuietHours(start="22:00", end="07:00"))
NO_PUSH = f.NotificationPreferences(kinds=f.KindSwitches(message_received=f.Switches(push=False)))
HIDDEN = f.Privacy(about="nobody", discoverable=False)
LINK = fact(f.EmailVerificationRequested, ticket="c9", email="ann@x", expires_at=AT + 3 * DAY)
OPEN = logins(s1=login())
CHANNELS = Channels(
    id="ann",
    seq=1,
    push={"p1": PushSubscription(endpoint="https://p.example/1", p256dh="k", auth="a", session="s1", created_at=AT)},
    webhooks={"w1": Webhook(url="https://h.example/1", created_at=AT)},
)
ENDS: dict[str, int] = {"expires_at": AT + DAY, "ends_at": AT + 9 * DAY}
TOKENS = {"generation": 0, "user": "ann", **ENDS}


def view(**changes: Any) -> dict[str, Any]:
    """The account as its owner sees it, after a change at offset 9 when there is one."""
    account = {
        "id": "ann",
        "email": "ann@x",
        "email_verified": False,
        **msgspec.to_builtins(PROFILE),
        "privacy": msgspec.to_builtins(f.Privacy()),
        "notification_preferences": msgspec.to_builtins(f.NotificationPreferences()),
        "tier": "silver",
        "role": "member",
        "created_at": AT - 9,
        "updated_at": AT if changes else AT - 9,
        "seq": seq_of(9) if changes else 256,
    }
    return {**account, **changes}


#: Command, what is there, the result, what has happened.
ACCEPTED: list[tuple[str, c.UserCommand, tuple[AnyDocument, ...], dict[str, Any], list[f.AnyEvent]]] = [
    (
        "sign-up",
        SIGN_UP,
        (),
        view(tier="free", created_at=AT, seq=seq_of(9, 1)),
        [
            fact(f.UserSignedUp, email="ann@x", profile=PROFILE, tier="free", role="member"),
            fact(f.EmailVerificationRequested, 1, ticket="c9", email="ann@x", expires_at=AT + 3 * DAY),
        ],
    ),
    (
        "log-in",
        c.LogIn(**STAMP, session="s1", device="phone", place="net", **ENDS),
        (changed(ANN, role="analyst"),),
        {"session": "s1", **TOKENS},
        [fact(f.UserLoggedIn, session="s1", device="phone", place="net", role="analyst", **ENDS)],
    ),
    (
        "renewal",
        c.RenewSession(**STAMP, session="s1", generation=0, expires_at=AT + 2 * DAY, successor="s2", place="cafe"),
        (ANN, OPEN),
        {"session": "s1", **TOKENS, "generation": 1, "expires_at": AT + 2 * DAY},
        [fact(f.SessionRenewed, session="s1", expires_at=AT + 2 * DAY, generation=1, place="cafe")],
    ),
    (
        "log-out",
        c.LogOut(**STAMP, session="s1"),
        (OPEN,),
        {"session": "s1"},
        [fact(f.UserLoggedOut, session="s1")],
    ),
    (
        "log-out everywhere",
        c.LogOutEverywhere(**STAMP),
        (ANN, OPEN),
        {"ended": 1},
        [fact(f.UserLoggedOut, session="s1", reason="log_out_everywhere")],
    ),
    (
        "another password",
        c.ChangePassword(**STAMP, password_hash="secret-hash", session="s1", successor="s2", **ENDS),
        (ANN, OPEN),
        {"session": "s2", **TOKENS},
        [
            fact(f.PasswordChanged),
            fact(f.UserLoggedOut, 1, session="s1", reason="password"),
            fact(f.UserLoggedIn, 2, session="s2", device="phone", place="net", **ENDS),
        ],
    ),
    (
        "a link to set a password",
        c.RequestPasswordReset(**STAMP, user="ann", email="ann@x"),
        (ANN,),
        {"email": "ann@x"},
        [fact(f.PasswordResetRequested, ticket="c9", email="ann@x", expires_at=AT + HOUR)],
    ),
    (
        "a password set by a link",
        c.ResetPassword(**STAMP, ticket="t1", password_hash="secret-hash"),
        (changed(ANN, reset=ticket()), OPEN),
        {"user": "ann"},
        [
            fact(f.PasswordChanged, reset=True),
            fact(f.EmailVerified, 1, email="ann@x"),
            fact(f.UserLoggedOut, 2, session="s1", reason="reset"),
        ],
    ),
    (
        "another link to prove the address",
        c.RequestEmailVerification(**STAMP),
        (ANN,),
        {"email": "ann@x", "email_verified": False},
        [LINK],
    ),
    (
        "a link for an address that is proved",
        c.RequestEmailVerification(**STAMP),
        (changed(ANN, email_verified=True),),
        {"email": "ann@x", "email_verified": True},
        [],
    ),
    (
        "a link to another address",
        c.ChangeEmail(**STAMP, email="new@x"),
        (ANN,),
        {"email": "new@x"},
        [changed(LINK, email="new@x")],
    ),
    ("a link to the address they have", c.ChangeEmail(**STAMP, email="ann@x"), (ANN,), {"email": "ann@x"}, []),
    (
        "the link for their address",
        c.ConfirmEmail(**STAMP, ticket="t1", email="ann@x"),
        (changed(ANN, verification=ticket()),),
        {"email": "ann@x", "email_verified": True},
        [fact(f.EmailVerified, email="ann@x")],
    ),
    (
        "the link for another address",
        c.ConfirmEmail(**STAMP, ticket="t1", email="new@x"),
        (changed(ANN, verification=ticket(email="new@x")),),
        {"email": "new@x", "email_verified": True},
        [fact(f.EmailChanged, email="new@x", before="ann@x")],
    ),
    (
        "one field of the profile",
        c.ChangeProfile(**STAMP, headline="Kafka", expected=256),
        (ANN,),
        view(headline="Kafka"),
        [fact(f.ProfileChanged, profile=changed(PROFILE, headline="Kafka"))],
    ),
    (
        "all fields of the profile, some to nothing",
        c.ChangeProfile(**STAMP, name="A", headline="", about="", photo_url="", skills=()),
        (ANN,),
        view(name="A", headline="", about="", photo_url="", skills=[]),
        [fact(f.ProfileChanged, profile=f.Profile(name="A"))],
    ),
    ("the profile as it is", c.ChangeProfile(**STAMP, name="Ann"), (ANN,), view(), []),
    ("no field of the profile", c.ChangeProfile(**STAMP), (ANN,), view(), []),
    (
        "privacy",
        c.ChangePrivacy(**STAMP, privacy=HIDDEN),
        (ANN,),
        view(privacy=msgspec.to_builtins(HIDDEN)),
        [fact(f.PrivacyChanged, privacy=HIDDEN)],
    ),
    (
        "how to be told of things",
        c.ChangeNotificationPreferences(**STAMP, preferences=QUIET),
        (ANN,),
        view(notification_preferences=msgspec.to_builtins(QUIET)),
        [fact(f.NotificationPreferencesChanged, preferences=QUIET)],
    ),
    (
        "how they are told already",
        c.ChangeNotificationPreferences(**STAMP, preferences=f.NotificationPreferences()),
        (ANN,),
        view(),
        [],
    ),
    (
        "one switch",
        c.SwitchNotifications(**STAMP, kind="message_received", channel="push", on=False),
        (ANN,),
        view(notification_preferences=msgspec.to_builtins(NO_PUSH)),
        [fact(f.NotificationPreferencesChanged, preferences=NO_PUSH)],
    ),
    (
        "a switch that there isn't",
        c.SwitchNotifications(**STAMP, kind="password_changed", channel="push", on=False),
        (ANN,),
        view(),
        [],
    ),
    ("the privacy they have", c.ChangePrivacy(**STAMP, privacy=f.Privacy()), (ANN,), view(), []),
    (
        "a tier, on the machine",
        c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="gold"),
        (ANN,),
        view(tier="gold"),
        [fact(f.TierChanged, tier="gold", before="silver")],
    ),
    (
        "a tier, by an operator",
        c.ChangeTier(**OPERATOR_STAMP, user="ann", tier="gold", authority="operator", reason="Paid."),
        (ANN,),
        view(tier="gold"),
        [fact(f.TierChanged, tier="gold", before="silver", by="olga", reason="Paid.")],
    ),
    ("the tier they have", c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="silver"), (ANN,), view(), []),
    (
        "a role",
        c.ChangeRole(**OPERATOR_STAMP, user="ann", role="analyst", authority="operator"),
        (ANN,),
        view(role="analyst"),
        [fact(f.RoleChanged, role="analyst", before="member", by="olga")],
    ),
    ("the role they have", c.ChangeRole(**SYSTEM_STAMP, user="ann", role="member"), (ANN,), view(), []),
    (
        "a device comes",
        c.GoOnline(**STAMP, session="s1", until=AT + 60_000),
        (ANN,),
        {"online": True, "until": AT + 60_000},
        [fact(f.UserCameOnline, session="s1", until=AT + 60_000)],
    ),
    (
        "a device goes",
        c.GoOffline(**STAMP, session="s1"),
        (ANN,),
        {"online": False},
        [fact(f.UserWentOffline, session="s1")],
    ),
    (
        "notifications",
        c.ReadNotifications(**STAMP, notifications=("n1", "n2")),
        (ANN,),
        {"read": ["n1", "n2"]},
        [fact(f.NotificationsRead, notifications=("n1", "n2"))],
    ),
    (
        "a browser",
        c.SubscribePush(**STAMP, endpoint="https://p.example/1", p256dh="k", auth="a", session="s1"),
        (ANN,),
        {"id": STAMP["id"], "endpoint": "https://p.example/1", "created_at": AT},
        [
            fact(
                f.PushSubscribed,
                subscription=STAMP["id"],
                endpoint="https://p.example/1",
                p256dh="k",
                auth="a",
                session="s1",
            )
        ],
    ),
    (
        "a browser that is gone",
        c.UnsubscribePush(**STAMP, subscription="p1", reason="gone"),
        (ANN, CHANNELS),
        {"subscription": "p1"},
        [fact(f.PushUnsubscribed, subscription="p1", reason="gone")],
    ),
    (
        "a webhook",
        c.AddWebhook(**STAMP, url="https://h.example/1"),
        (ANN, CHANNELS),
        {"id": STAMP["id"], "url": "https://h.example/1", "created_at": AT},
        [fact(f.WebhookAdded, webhook=STAMP["id"], url="https://h.example/1")],
    ),
    (
        "no webhook any more",
        c.RemoveWebhook(**STAMP, webhook="w1"),
        (ANN, CHANNELS),
        {"webhook": "w1"},
        [fact(f.WebhookRemoved, webhook="w1")],
    ),
    (
        "a webhook that fails",
        c.DisableWebhook(**STAMP, webhook="w1", reason="failing"),
        (ANN, CHANNELS),
        {"webhook": "w1"},
        [fact(f.WebhookDisabled, webhook="w1", reason="failing")],
    ),
    (
        "notifications are seen",
        c.SeeNotifications(**STAMP, up_to="n2"),
        (ANN,),
        {"seen_up_to": "n2"},
        [fact(f.NotificationsSeen, up_to="n2")],
    ),
    (
        "somebody leaves",
        c.DeleteAccount(**STAMP),
        (ANN, OPEN),
        {"user": "ann", "deleted": True},
        [fact(f.UserLoggedOut, session="s1", reason="deleted"), fact(f.UserDeleted, 1, email="ann@x")],
    ),
]
accepted = pytest.mark.parametrize(
    ("command", "there", "result", "events"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)


@accepted
def test_each_command_has_its_result_and_what_has_happened(
    command: c.UserCommand, there: tuple[AnyDocument, ...], result: dict[str, Any], events: list[f.AnyEvent]
) -> None:
    verdict = decide(command, *there, new="ann")
    assert code(verdict) is None
    assert json.loads(msgspec.json.encode(verdict.result)) == json.loads(msgspec.json.encode(result))
    assert list(verdict.events) == events


def test_every_user_command_is_in_this_table() -> None:
    assert {type(row[1]) for row in ACCEPTED} == set(c.UserCommand.__args__)


@accepted
def test_a_verdict_rests_only_on_the_documents_that_are_asked_for(
    command: c.UserCommand, there: tuple[AnyDocument, ...], result: Any, events: Any
) -> None:
    asked = [document for document in (ANN, OPEN, *there) if ref_of(document) in accounts.wanted(command)]
    assert decide(command, *asked, new="ann") == decide(command, *there, new="ann")


@accepted
def test_no_password_hash_leaves_with_a_verdict_or_a_document(
    command: c.UserCommand, there: tuple[AnyDocument, ...], result: Any, events: Any
) -> None:
    verdict = decide(command, *there, new="ann")
    left = list(after(verdict, *there).values())
    assert b"secret-hash" not in msgspec.json.encode((verdict, left))


# -- refusals


REFUSED: list[tuple[str, c.UserCommand, tuple[AnyDocument, ...], dict[str, str], str]] = [
    ("an address that somebody else holds", SIGN_UP, (), {"ann": "eve"}, "email_taken"),
    ("an address that wasn't reserved", SIGN_UP, (), {"ann": ""}, "email_taken"),
    (
        "a change of what has changed meanwhile",
        c.ChangeProfile(**STAMP, headline="Kafka", expected=255),
        (ANN,),
        {},
        "precondition_failed",
    ),
    ("a tier for oneself", c.ChangeTier(**STAMP, user="ann", tier="gold"), (ANN,), {}, "not_allowed"),
    ("a role for oneself", c.ChangeRole(**STAMP, user="ann", role="analyst"), (ANN,), {}, "not_allowed"),
    (
        "a role of an operator's own",
        c.ChangeRole(**STAMP, user="ann", role="member", authority="operator"),
        (changed(ANN, role="operator"),),
        {},
        "not_allowed",
    ),
    (
        "a role given by an analyst",
        c.ChangeRole(**OPERATOR_STAMP, user="ann", role="analyst", authority="analyst"),
        (ANN,),
        {},
        "not_allowed",
    ),
    ("a tier for nobody", c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="gold"), (), {}, "user_unknown"),
    ("a role for nobody", c.ChangeRole(**SYSTEM_STAMP, user="ann", role="analyst"), (), {}, "user_unknown"),
    (
        "an address that somebody else took meanwhile",
        c.ConfirmEmail(**STAMP, ticket="t1", email="new@x"),
        (changed(ANN, verification=ticket(email="new@x")),),
        {"new": "eve"},
        "email_taken",
    ),
    *(
        (
            f"a link that {why}",
            c.ConfirmEmail(**STAMP, ticket="t1", email=email),
            (user,),
            {"new": "ann"},
            "link_invalid",
        )
        for why, email, user in (
            ("was used", "ann@x", ANN),
            ("was replaced", "ann@x", changed(ANN, verification=ticket("t2"))),
            ("is too old", "ann@x", changed(ANN, verification=ticket(expires_at=AT))),
            ("went to another address", "new@x", changed(ANN, verification=ticket())),
            ("sets a password", "ann@x", changed(ANN, reset=ticket())),
        )
    ),
    *(
        (
            f"a password by a link that {why}",
            c.ResetPassword(**STAMP, ticket="t1", password_hash="h"),
            (user,),
            {},
            "link_invalid",
        )
        for why, user in (
            ("was used", ANN),
            ("was replaced", changed(ANN, reset=ticket("t2"))),
            ("is too old", changed(ANN, reset=ticket(expires_at=AT))),
            ("proves an address", changed(ANN, verification=ticket())),
            ("somebody deleted had", changed(GONE, reset=ticket())),
        )
    ),
]


@pytest.mark.parametrize(
    ("command", "there", "holders", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_each_refusal_has_its_code_and_says_what_to_do(
    command: c.UserCommand, there: tuple[AnyDocument, ...], holders: dict[str, str], problem: str
) -> None:
    verdict = decide(command, *there, **holders)
    assert code(verdict) == problem
    assert verdict.events == ()
    assert verdict.problem is not None
    assert verdict.problem.detail.endswith(".")


@pytest.mark.parametrize("absent", [(), (GONE, Logins(id="ann", seq=300, sessions={}))], ids=["unknown", "deleted"])
@pytest.mark.parametrize("command", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_nothing_is_done_for_somebody_who_is_not_there(command: c.UserCommand, absent: tuple[AnyDocument, ...]) -> None:
    if isinstance(command, c.SignUp | c.RequestPasswordReset):
        return  # the one makes an account, the other says nothing of whether there is one
    verdict = decide(command, *absent)
    assert code(verdict) in ("user_unknown", "session_unknown", "link_invalid")
    assert verdict.events == ()


@pytest.mark.parametrize(
    ("user", "there"), [("", ()), ("ann", ()), ("ann", (GONE,)), ("ann", (changed(ANN, email="other@x"),))]
)
def test_who_asks_for_a_link_learns_nothing_of_whose_address_it_is(user: str, there: Any) -> None:
    verdict = decide(c.RequestPasswordReset(**STAMP, user=user, email="ann@x"), *there)
    assert verdict.result == decide(c.RequestPasswordReset(**STAMP, user="ann", email="ann@x"), ANN).result
    assert verdict.events == ()


# -- what follows


CHANGES = [
    (fact(f.ProfileChanged, profile=f.Profile(name="A")), {"profile": f.Profile(name="A"), "updated_at": AT}),
    (fact(f.PrivacyChanged, privacy=HIDDEN), {"privacy": HIDDEN, "updated_at": AT}),
    (fact(f.NotificationPreferencesChanged, preferences=QUIET), {"notification_preferences": QUIET, "updated_at": AT}),
    (fact(f.TierChanged, tier="gold"), {"tier": "gold", "updated_at": AT}),
    (fact(f.RoleChanged, role="operator"), {"role": "operator", "updated_at": AT}),
    (fact(f.PasswordResetRequested, ticket="t9", email="ann@x", expires_at=7), {"reset": ticket("t9", expires_at=7)}),
    (
        fact(f.EmailVerificationRequested, ticket="t9", email="new@x", expires_at=7),
        {"verification": ticket("t9", "new@x", 7)},
    ),
    (fact(f.PasswordChanged), {"reset": None}),
    (fact(f.EmailVerified, email="ann@x"), {"email_verified": True, "verification": None, "updated_at": AT}),
    (
        fact(f.EmailChanged, email="new@x", before="ann@x"),
        {"email": "new@x", "email_verified": True, "verification": None, "reset": None, "updated_at": AT},
    ),
]
changes = pytest.mark.parametrize(("event", "fields"), CHANGES)
WAITING = changed(ANN, verification=ticket(), reset=ticket("t2"))


def users(documents: tuple[AnyDocument, ...]) -> list[User]:
    return [document for document in documents if isinstance(document, User)]


@changes
def test_an_event_changes_the_account_and_nothing_else_of_it(event: f.AnyUserEvent, fields: dict[str, Any]) -> None:
    assert users(accounts.evolve(snapshot(WAITING, OPEN), event)) == [changed(WAITING, seq=seq_of(9), **fields)]


@changes
@pytest.mark.parametrize("ahead", [0, 1])
def test_an_account_that_is_ahead_of_an_event_stays_as_it_is(event: f.AnyUserEvent, fields: Any, ahead: int) -> None:
    assert users(accounts.evolve(snapshot(changed(ANN, seq=seq_of(9) + ahead)), event)) == []


@changes
def test_an_event_without_its_account_makes_none(event: f.AnyUserEvent, fields: Any) -> None:
    assert users(accounts.evolve({}, event)) == []


def test_a_sign_up_makes_the_account_that_it_answers_with_and_never_again() -> None:
    verdict = decide(SIGN_UP)
    user = after(verdict)[Ref("user", "ann")]
    assert isinstance(user, User)
    assert accounts.account_view(user) == verdict.result
    assert (user.created_at, user.updated_at, user.verification) == (AT, AT, ticket("c9", expires_at=AT + 3 * DAY))
    later = changed(user, seq=seq_of(20), tier="gold")
    assert after(verdict, later) == snapshot(later)


def test_a_link_that_waits_for_another_address_is_not_used_up_by_a_reset() -> None:
    user = changed(ANN, verification=ticket("t9", "new@x"), reset=ticket())
    verdict = decide(c.ResetPassword(**STAMP, ticket="t1", password_hash="h"), user)
    left = after(verdict, user)[Ref("user", "ann")]
    assert isinstance(left, User)
    assert (left.verification, left.reset, left.email_verified) == (user.verification, None, True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            c.ResetPassword(**STAMP, ticket="t1", password_hash="h"),
            c.ResetPassword(**STAMP, ticket="t1", password_hash="i"),
        ),
        (c.ConfirmEmail(**STAMP, ticket="t2", email="new@x"), c.ConfirmEmail(**STAMP, ticket="t2", email="new@x")),
        # A link that went to the address before the change opens nothing any more.
        (c.ConfirmEmail(**STAMP, ticket="t2", email="new@x"), c.ResetPassword(**STAMP, ticket="t1", password_hash="i")),
        (
            c.ChangePassword(**STAMP, password_hash="h", session="s1", successor="s2", **ENDS),
            c.ResetPassword(**STAMP, ticket="t1", password_hash="i"),
        ),
    ],
)
def test_a_link_is_good_once(first: c.UserCommand, second: c.UserCommand) -> None:
    user = changed(ANN, reset=ticket(), verification=ticket("t2", "new@x"))
    verdict = decide(first, user, OPEN, new="ann")
    assert code(verdict) is None
    left = after(verdict, user, OPEN)
    assert code(decide(second, *left.values(), new="ann")) == "link_invalid"


def test_of_a_deleted_account_nothing_is_left_but_its_id() -> None:
    known = changed(WAITING, email_verified=True, privacy=HIDDEN, role="operator")
    left = after(decide(c.DeleteAccount(**STAMP), known, OPEN), known, OPEN)
    assert left == {
        Ref("logins", "ann"): Logins(id="ann", seq=seq_of(9), sessions={}),
        Ref("user", "ann"): User(
            id="ann",
            seq=seq_of(9, 1),
            email="",
            profile=f.Profile(name="Deleted account"),
            tier="free",
            role="member",
            created_at=0,
            updated_at=AT,
            deleted=True,
        ),
    }


@pytest.mark.parametrize(
    ("command", "what", "before", "to"),
    [
        (
            c.ChangeTier(**OPERATOR_STAMP, user="ann", tier="gold", authority="operator", reason="Paid."),
            "tier",
            "silver",
            "gold",
        ),
        (
            c.ChangeRole(**OPERATOR_STAMP, user="ann", role="analyst", authority="operator", reason="Paid."),
            "role",
            "member",
            "analyst",
        ),
    ],
)
def test_each_change_of_rights_is_kept_whatever_the_account_says_by_then(
    command: c.UserCommand, what: Any, before: str, to: str
) -> None:
    kept = Audit(
        id="c9.0", seq=seq_of(9), user="ann", by="olga", what=what, before=before, after=to, reason="Paid.", at=AT
    )
    verdict = decide(command, ANN)
    assert after(verdict, ANN)[Ref("audit", "c9.0")] == kept
    assert after(verdict, changed(ANN, seq=seq_of(20)))[Ref("audit", "c9.0")] == kept


@pytest.mark.parametrize(
    "event",
    [
        fact(f.UserCameOnline, session="s1", until=AT),
        fact(f.UserWentOffline, session="s1"),
        fact(f.NotificationsRead, notifications=("n1",)),
        fact(f.NotificationsSeen, up_to="n1"),
    ],
)
def test_presence_and_marks_change_no_document(event: f.AnyUserEvent) -> None:
    assert accounts.evolve(snapshot(ANN, OPEN), event) == ()
    assert accounts.touched(event) == ()


def test_tags_name_what_has_happened() -> None:
    """Of these samples' own helper: what it says is what other tests rest on."""
    assert tags(decide(c.LogOut(**STAMP, session="s1"), OPEN)) == ["s1 log_out"]
