"""What identity tells people by mail: all about the safety of their accounts (ASVS V6.3.5, V6.3.7), so nobody can switch it off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from fortress.mail import NOTHING, NotificationData, NotificationKind

D = TypeVar("D", bound=NotificationData)


class Carried(NotificationData, frozen=True):
    """Data of a letter that carries a token."""

    token: str


class Provided(NotificationData, frozen=True):
    """Data of a letter about somebody else's sign-in: what people know it as."""

    provider: str


class Seen(NotificationData, frozen=True):
    """Data of a letter about a device: where and when it was seen. What it calls itself could be a lie."""

    address: str
    at: datetime


def _notice(what: str, title: str, sample: D) -> NotificationKind[D]:
    return NotificationKind(f"identity.{what}", title, sample, security=True)


def _carrier(what: str, title: str, good_for: timedelta) -> NotificationKind[Carried]:
    sample = Carried("a-token-of-forty-three-letters-and-no-more-x")
    return NotificationKind(f"identity.{what}", title, sample, security=True, secret=True, good_for=good_for)


_DAY: Final = timedelta(hours=24)
_HALF_AN_HOUR: Final = timedelta(minutes=30)
_PROVIDED: Final = Provided("Example")

# To somebody who has just signed up, with somebody else's word that the address is theirs, or to show it.
WELCOME: Final = _notice("welcome", "Your account", NOTHING)
WELCOME_AND_VERIFY: Final = _carrier("welcome_and_verify", "Your account", _DAY)
# To somebody who wants to show that the address is theirs, and has no mail for it any more.
VERIFY_EMAIL: Final = _carrier("verify_email", "Your address", _DAY)
# To the owner of an address that somebody wanted to sign up with again.
ALREADY_SIGNED_UP: Final = _notice("already_signed_up", "Your account", NOTHING)

PASSWORD_CHANGED: Final = _notice("password_changed", "Your password", NOTHING)
# To somebody who does not know their password any more, or whose administrator started this for them.
FORGOTTEN_PASSWORD: Final = _carrier("forgotten_password", "Your password", _HALF_AN_HOUR)
# To somebody whose password was chosen anew with a mailed token.
PASSWORD_RESET: Final = _notice("password_reset", "Your password", NOTHING)

IDENTITY_LINKED: Final = _notice("identity_linked", "Ways to sign in", _PROVIDED)
IDENTITY_UNLINKED: Final = _notice("identity_unlinked", "Ways to sign in", _PROVIDED)
NEW_DEVICE: Final = _notice("new_device", "New devices", Seen("192.0.2.7", datetime(2026, 1, 1, 12, tzinfo=UTC)))

# To the address that an account has: it shall be another, if who reads this agrees; or an administrator changes it, and it can be stopped.
EMAIL_CHANGE_ASKED: Final = _carrier("email_change_asked", "Your address", _DAY)
EMAIL_CHANGE_ORDERED: Final = _carrier("email_change_ordered", "Your address", _DAY)
# To the address that an account shall have.
EMAIL_CHANGE_OFFERED: Final = _carrier("email_change_offered", "Your address", _DAY)
# To the owner of an address that somebody with another account wanted for theirs.
ADDRESS_WANTED: Final = _notice("address_wanted", "Your address", NOTHING)
# To both addresses, once it is done.
EMAIL_CHANGED: Final = _notice("email_changed", "Your address", NOTHING)

LETTERS: Final[tuple[NotificationKind[Any], ...]] = (
    WELCOME,
    WELCOME_AND_VERIFY,
    VERIFY_EMAIL,
    ALREADY_SIGNED_UP,
    PASSWORD_CHANGED,
    FORGOTTEN_PASSWORD,
    PASSWORD_RESET,
    IDENTITY_LINKED,
    IDENTITY_UNLINKED,
    NEW_DEVICE,
    EMAIL_CHANGE_ASKED,
    EMAIL_CHANGE_ORDERED,
    EMAIL_CHANGE_OFFERED,
    ADDRESS_WANTED,
    EMAIL_CHANGED,
)
