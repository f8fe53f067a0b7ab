"""What of an account, a session and a key is shown; hashes never are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from fortress.data import Page
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import ApiKey, Session, User

A = TypeVar("A")
B = TypeVar("B")


class UserView(msgspec.Struct, frozen=True):
    """An account."""

    id: UUID
    email: str
    name: str | None
    status: UserStatus
    created_at: datetime


class MeView(UserView, frozen=True):
    """The caller's own account, and the roles that they were given."""

    roles: tuple[str, ...]


class SessionView(msgspec.Struct, frozen=True):
    """One of the caller's sessions; `current` is the one that asks."""

    id: UUID
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    address: str | None
    agent: str | None
    current: bool


class KeyView(msgspec.Struct, frozen=True):
    """One of the caller's API keys; `prefix` is how it begins."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class NewKeyView(KeyView, frozen=True):
    """A key just made, with its text, which is never shown again."""

    key: str

    def __repr__(self) -> str:
        return f"NewKeyView({self.prefix})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("prefix", self.prefix)]


def user_view(user: User) -> UserView:
    return UserView(user.id, user.email, user.name, user.status, user.created_at)


def me_view(user: User, roles: tuple[str, ...]) -> MeView:
    return MeView(user.id, user.email, user.name, user.status, user.created_at, roles)


def session_view(session: Session, current: UUID | None) -> SessionView:
    ends = min(session.expires_at, session.idle_expires_at)
    return SessionView(session.id, session.created_at, session.used_at, ends, session.address, session.agent, current=session.id == current)


def key_view(key: ApiKey) -> KeyView:
    return KeyView(key.id, key.name, key.prefix, key.scopes, key.created_at, key.expires_at, key.used_at)


def new_key_view(key: ApiKey, text: str) -> NewKeyView:
    return NewKeyView(key.id, key.name, key.prefix, key.scopes, key.created_at, key.expires_at, key.used_at, text)


def shown(page: Page[A], view: Callable[[A], B]) -> Page[B]:
    """The page with each item as it is shown."""
    return Page([view(item) for item in page.items], page.next)
