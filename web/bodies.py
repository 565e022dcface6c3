"""The bodies of requests: frozen, no field too many, every limit in its type; and what becomes of their texts."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from devconnect.domain import normalise, outbound
from devconnect.events.base import ReportReason, Role, Tier
from web.patterns import NOT_BLANK, NOTIFICATION_ID
from web.problems import bad_field

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=normalise.EMAIL_MAX,
        description="An e-mail address; letters of every script are fine, upper and lower case are one.",
        examples=["ada@example.com"],
        extra_json_schema={"format": "email"},
    ),
]
#: How long it must be is the setting's to say.
NewPassword = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        description="Long enough, and not one of those that are tried first; of characters of any kind.",
        examples=["seven blue herons read maps"],
    ),
]
Password = Annotated[
    str, Meta(min_length=1, max_length=256, description="The password.", examples=["seven blue herons read maps"])
]
Name = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=NOT_BLANK, description="One line.", examples=["Ada Lovelace"])
]
Headline = Annotated[str, Meta(max_length=200, description="One line.", examples=["Analytical engines"])]
About = Annotated[str, Meta(max_length=2000, description="A text.", examples=["I write programs for engines."])]
Url = Annotated[
    str,
    Meta(
        max_length=normalise.URL_MAX,
        description="An http or https URL; empty for none.",
        examples=["https://example.com/ada.png"],
    ),
]
Skill = Annotated[str, Meta(min_length=1, max_length=normalise.SKILL_MAX, pattern=NOT_BLANK)]
Skills = Annotated[
    tuple[Skill, ...],
    Meta(
        max_length=normalise.SKILLS_MAX,
        description="Upper and lower case are one, and each counts once.",
        examples=[["python", "kafka"]],
    ),
]
Device = Annotated[str, Meta(max_length=100, description="What the device calls itself.", examples=["Ada's laptop"])]
#: A token of ours as somebody may send it.
Token = Annotated[str, Meta(max_length=2000, description="As an answer or a mailed link had it.")]
Reason = Annotated[str, Meta(max_length=500, description="Kept in the audit trail.", examples=["annual plan"])]
#: A user id as somebody may write it; whether it is one is another question.
UserId = Annotated[
    str,
    Meta(
        min_length=1, max_length=100, description="The id of a person.", examples=["5f0c1e9a7b3d42688e1f0a9b7c6d5e4f"]
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=4000, pattern=NOT_BLANK, examples=["Hello, Bob!"])]
#: A message's seq: exact in every JSON reader.
Seq = Annotated[int, Meta(ge=1, le=2**53 - 1, description="The `seq` of a message.", examples=[1])]
Endpoint = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=outbound.URL_MAX,
        description="An https URL of the public internet.",
        examples=["https://example.com/hook"],
    ),
]
NotificationIds = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...], Meta(max_length=100, description="Their ids.")
]

NotificationId = Annotated[
    str, Meta(pattern=NOTIFICATION_ID, max_length=100, description="The id of a notification, as its list has it.")
]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's body."""


class SignUp(Body, frozen=True):
    """`POST /v1/users`"""

    email: Email
    password: NewPassword
    name: Name
    headline: Headline = ""
    about: About = ""
    photo_url: Url = ""
    skills: Skills = ()


class LogIn(Body, frozen=True):
    """`POST /v1/sessions`; with `cookie` the tokens go into cookies, and not into the answer.

    `device_token` is what an earlier log-in from this device was given.
    """

    email: Email
    password: Password
    device: Device = ""
    cookie: bool = False
    device_token: Token = ""


class Renew(Body, frozen=True):
    """`POST /v1/sessions/renew`; without a `renewal_token` the one in the cookie counts."""

    renewal_token: Token = ""


class ChangePassword(Body, frozen=True):
    """`PUT /v1/me/password`"""

    current_password: Password
    new_password: NewPassword


class ChangeEmail(Body, frozen=True):
    """`PUT /v1/me/email`"""

    email: Email
    password: Password


class DeleteAccount(Body, frozen=True):
    """`DELETE /v1/me`"""

    password: Password


class ConfirmEmail(Body, frozen=True):
    """`POST /v1/email-verifications`: the token of a link that was mailed"""

    token: Token


class RequestReset(Body, frozen=True):
    """`POST /v1/password-resets`"""

    email: Email


class ConfirmReset(Body, frozen=True):
    """`POST /v1/password-resets/confirm`: the token of a link that was mailed, and the password to set"""

    token: Token
    new_password: NewPassword


class ChangeTier(Body, frozen=True):
    """`PUT /v1/users/{user}/tier`"""

    tier: Tier
    reason: Reason = ""


class ChangeRole(Body, frozen=True):
    """`PUT /v1/users/{user}/role`"""

    role: Role
    reason: Reason = ""


class ReportUser(Body, frozen=True):
    """`POST /v1/reports`"""

    user: UserId
    reason: ReportReason
    note: Annotated[str, Meta(max_length=2000, description="What happened.", examples=["It's all advertising."])] = ""


class CloseReport(Body, frozen=True):
    """`POST /v1/reports/{report}/close`"""

    outcome: Annotated[
        str, Meta(min_length=1, max_length=500, description="What came of it.", examples=["The account is closed."])
    ]


class ChangeProfile(Body, frozen=True):
    """`PATCH /v1/me`"""

    name: Name | UnsetType = UNSET
    headline: Headline | UnsetType = UNSET
    about: About | UnsetType = UNSET
    photo_url: Url | UnsetType = UNSET
    skills: Skills | UnsetType = UNSET


class Presence(Body, frozen=True):
    """`PUT /v1/me/presence`"""

    online: bool


class RequestConnection(Body, frozen=True):
    """`POST /v1/connections`"""

    user: UserId
    interest: Literal["interested", "ignored"]


class ReviewConnection(Body, frozen=True):
    """`POST /v1/connections/{user}/review`"""

    verdict: Literal["accepted", "rejected"]


class SendMessage(Body, frozen=True):
    """`POST /v1/conversations/{user}/messages`"""

    text: Text


class EditMessage(Body, frozen=True):
    """`PATCH /v1/conversations/{user}/messages/{message}`"""

    text: Text


class UpTo(Body, frozen=True):
    """`POST /v1/conversations/{user}/delivered` and `…/read`"""

    up_to: Seq


#: Those of RFC 8291's example.
PUSH_KEYS = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}


class PushKeys(Body, frozen=True):
    """What a browser's `PushSubscription.toJSON()` has in `keys`."""

    p256dh: Annotated[
        str,
        Meta(
            max_length=100, description="A point of P-256, uncompressed, in base64url.", examples=[PUSH_KEYS["p256dh"]]
        ),
    ]
    auth: Annotated[str, Meta(max_length=32, description="16 bytes in base64url.", examples=[PUSH_KEYS["auth"]])]


class SubscribePush(Body, frozen=True, rename={"expiration_time": "expirationTime"}):
    """`POST /v1/me/push-subscriptions`: a browser's `PushSubscription.toJSON()`"""

    endpoint: Endpoint
    keys: Annotated[PushKeys, Meta(examples=[PUSH_KEYS])]
    expiration_time: Annotated[float | None, Meta(description="As the browser gives it; not looked at.")] = None


class AddWebhook(Body, frozen=True):
    """`POST /v1/me/webhooks`"""

    url: Endpoint


class SeeNotifications(Body, frozen=True):
    """`POST /v1/me/notifications/seen`"""

    up_to: NotificationId


class ReadNotifications(Body, frozen=True):
    """`POST /v1/me/notifications/read`"""

    notifications: NotificationIds


def address_of(body: SignUp | ChangeEmail | RequestReset) -> str:
    """The e-mail address in its one spelling; ProblemError(invalid_body) when it is none."""
    address = normalise.email(body.email)
    if address is None:
        raise bad_field("email", "is an address such as ada@example.com, of at most 254 characters")
    return address


def profile_of(body: SignUp | ChangeProfile) -> dict[str, Any]:
    """The profile fields that were given, each in its one spelling; ProblemError(invalid_body) for a bad one."""
    given: dict[str, Any] = {}
    if not isinstance(body.name, UnsetType):
        given["name"] = normalise.line(body.name)
    if not isinstance(body.headline, UnsetType):
        given["headline"] = normalise.line(body.headline)
    if not isinstance(body.about, UnsetType):
        given["about"] = body.about.strip()
    if not isinstance(body.photo_url, UnsetType):
        given["photo_url"] = normalise.link(body.photo_url)
        if given["photo_url"] is None:
            raise bad_field("photo_url", "is an http or https URL of at most 500 characters, or empty")
    if not isinstance(body.skills, UnsetType):
        given["skills"] = normalise.skills(body.skills)
        if given["skills"] is None:
            raise bad_field("skills", "are at most 50, of 1 to 50 characters each")
    return given
