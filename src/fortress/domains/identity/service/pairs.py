"""What a client gets when it signs in or refreshes."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from fortress.security import Method, Principal, Reach
from fortress.security.tokens import AccessTokens

BEARER: Final = "Bearer"


class TokenPair(msgspec.Struct, frozen=True, tag_field="token_type", tag=BEARER):
    """An access token, the seconds that it lives, and the refresh token for the time after it (RFC 6749 §5.1)."""

    access_token: str
    expires_in: int
    refresh_token: str

    def __repr__(self) -> str:
        return "TokenPair(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("expires_in", self.expires_in)]


def pair_of(tokens: AccessTokens, user: UUID, session: UUID, refresh_token: str) -> TokenPair:
    """A pair with a new access token."""
    access = tokens.issue(user, session)
    return TokenPair(access.text, access.expires_in, refresh_token)


def owner_of(session: UUID, user: UUID) -> Principal:
    """The person behind a session that has just been proved, so that the audit log names them; holds no grant."""
    return Principal(user, Method.SESSION, reach=Reach.ANY, session=session)


def on_behalf_of(user: UUID) -> Principal:
    """The person whom a token from their mailbox has proved, so that the audit log names them; holds no grant and has no session."""
    return Principal(user, Method.SESSION, reach=Reach.ANY)
