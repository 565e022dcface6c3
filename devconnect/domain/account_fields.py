"""An account as the read models keep it: from an event to the fields that are others after it, text or JSON each."""

import msgspec

from devconnect.domain.accounts import DELETED
from devconnect.events import facts as f


def opened(event: f.UserSignedUp) -> dict[str, str]:
    """All fields of a new account."""
    return {
        "email": event.email,
        "email_verified": "0",
        "tier": event.tier,
        "role": event.role,
        "privacy": _json(f.Privacy()),
        "notification_preferences": _json(f.NotificationPreferences()),
        "profile": _json(event.profile),
        "created_at": str(event.at),
        "updated_at": str(event.at),
    }


def closed(event: f.UserDeleted) -> dict[str, str]:
    """All fields of a deleted account."""
    return {
        "email": "",
        "email_verified": "0",
        "tier": "free",
        "role": "member",
        "privacy": _json(f.Privacy()),
        "notification_preferences": _json(f.NotificationPreferences()),
        "profile": _json(f.Profile(name=DELETED)),
        "created_at": "0",
        "updated_at": str(event.at),
        "deleted": "1",
    }


def changed(event: f.UserEvent) -> dict[str, str]:
    """What has changed; nothing where it is about links and passwords, of which nothing is read."""
    fields = _changes(event)
    return {**fields, "updated_at": str(event.at)} if fields else {}


def _changes(event: f.UserEvent) -> dict[str, str]:
    match event:
        case f.ProfileChanged():
            return {"profile": _json(event.profile)}
        case f.PrivacyChanged():
            return {"privacy": _json(event.privacy)}
        case f.NotificationPreferencesChanged():
            return {"notification_preferences": _json(event.preferences)}
        case f.TierChanged():
            return {"tier": event.tier}
        case f.RoleChanged():
            return {"role": event.role}
        case f.EmailVerified():
            return {"email_verified": "1"}
        case f.EmailChanged():
            return {"email": event.email, "email_verified": "1"}
        case _:
            return {}


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
