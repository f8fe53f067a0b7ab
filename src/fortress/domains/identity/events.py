"""Facts, past tense, versioned. All that other domains may hear of us; nothing personal is in them."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from fortress.events import Fact


class UserSignedUp(Fact, frozen=True):
    """Somebody has an account from now on."""

    version: ClassVar[int] = 1
    user_id: UUID


class UserDisabled(Fact, frozen=True):
    """An account can't be used any more."""

    version: ClassVar[int] = 1
    user_id: UUID


class UserEnabled(Fact, frozen=True):
    """An account can be used again."""

    version: ClassVar[int] = 1
    user_id: UUID


class UserErased(Fact, frozen=True):
    """A person wanted to be forgotten; what else is known of them should go too."""

    version: ClassVar[int] = 1
    user_id: UUID


class PasswordChanged(Fact, frozen=True):
    """A person has another password; their other sessions have ended."""

    version: ClassVar[int] = 1
    user_id: UUID


class EmailVerified(Fact, frozen=True):
    """A person has shown that their address is theirs."""

    version: ClassVar[int] = 1
    user_id: UUID


class EmailChanged(Fact, frozen=True):
    """A person has another address; the holders of both have agreed."""

    version: ClassVar[int] = 1
    user_id: UUID


class NewDeviceSeen(Fact, frozen=True):
    """A person has signed in from a device that they had not used before."""

    version: ClassVar[int] = 1
    user_id: UUID


class SessionStolen(Fact, frozen=True):
    """A refresh token was used a second time, so somebody else had it; the session has ended."""

    version: ClassVar[int] = 1
    user_id: UUID
    session_id: UUID


class IdentityLinked(Fact, frozen=True):
    """A person can sign in by an identity elsewhere from now on."""

    version: ClassVar[int] = 1
    user_id: UUID
    identity_id: UUID


class IdentityUnlinked(Fact, frozen=True):
    """A person can't sign in by this identity any more."""

    version: ClassVar[int] = 1
    user_id: UUID
    identity_id: UUID


class SecondFactorAdded(Fact, frozen=True):
    """A second step is asked of a person from now on; `kind` is totp or passkey."""

    version: ClassVar[int] = 1
    user_id: UUID
    kind: str


class SecondFactorRemoved(Fact, frozen=True):
    """A person has one second factor fewer, and perhaps none."""

    version: ClassVar[int] = 1
    user_id: UUID
    kind: str
