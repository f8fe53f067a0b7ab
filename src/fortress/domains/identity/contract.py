"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from fortress.errors import Conflict, Forbidden, NotFound, Unauthenticated

_CHALLENGE = {"www-authenticate": "Bearer"}


class UserStatus(StrEnum):
    """Whether an account can be used."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Person(msgspec.Struct, frozen=True):
    """Somebody with an account, as other domains may know them.

    Attributes:
        active: False while their account is disabled.
    """

    id: UUID
    email: str
    name: str | None
    active: bool

    def __repr__(self) -> str:
        return f"<Person id={self.id}>"


class People(Protocol):
    """Who there is."""

    async def person(self, id: UUID) -> Person | None:
        """The person of this id, disabled ones included."""
        ...


class InvalidCredentials(Unauthenticated):
    """E-mail address or password is wrong, or the account can't be used: the answer does not say which."""

    code, title = "auth.invalid_credentials", "E-mail address or password is wrong"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class InvalidRefreshToken(Unauthenticated):
    """Unknown, used, expired or revoked: the answer does not say which. Sign in again."""

    code, title = "auth.invalid_refresh_token", "The refresh token is not valid"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class EmailTaken(Conflict):
    """The address belongs to an account. Never leaves the domain: sign-up answers the same either way."""

    code, title = "users.email_taken", "This e-mail address is in use"


class UnknownUser(NotFound):
    """There is nobody of this id or address."""

    code, title = "users.not_found", "There is no such user"


class UnknownSession(NotFound):
    """There is no such session of yours."""

    code, title = "sessions.not_found", "There is no such session"


class UnknownKey(NotFound):
    """There is no such key of yours."""

    code, title = "api_keys.not_found", "There is no such API key"


class TooManyKeys(Conflict):
    """Revoke one that is not needed any more first."""

    code, title = "api_keys.too_many", "There are too many API keys"


class NotYourself(Forbidden):
    """An administrator who disables themself can't undo it."""

    code, title = "users.not_yourself", "You can't disable yourself"
