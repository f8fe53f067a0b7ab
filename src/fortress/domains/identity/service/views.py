"""What of an account, a session and a key is shown; hashes never are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from fortress.data import Page
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import ApiKey, EmailChange, KnownDevice, ServiceAccount, Session, User

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
    """The caller's own account, whether its address is proved, and the roles that they were given."""

    email_verified: bool
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


class DeviceView(msgspec.Struct, frozen=True):
    """A device that somebody signed in from: what is kept of it tells nobody which."""

    first_seen_at: datetime
    last_seen_at: datetime


class EmailChangeView(msgspec.Struct, frozen=True):
    """An address that shall replace an account's."""

    new_email: str
    created_at: datetime
    expires_at: datetime


class KeyStatus(StrEnum):
    """Whether a key works: it does, it does and so does the one before it, or its time is over."""

    ACTIVE = "active"
    ROTATING = "rotating"
    EXPIRED = "expired"


class PreviousKeyView(msgspec.Struct, frozen=True):
    """The secret that a key had before it was rotated: until when it works, and when it was last seen."""

    until: datetime
    used_at: datetime | None


class KeyView(msgspec.Struct, frozen=True):
    """An API key.

    Attributes:
        prefix: how it begins.
        networks: where it may be used from; empty: anywhere.
        rotated_at: since when it has its secret, when that is not the first.
        previous: the secret before that, also when it works no more.
    """

    id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    networks: tuple[str, ...]
    rotated_at: datetime | None
    previous: PreviousKeyView | None


class StatedKeyView(KeyView, frozen=True):
    """An API key, and whether it works."""

    status: KeyStatus


class NewKeyView(StatedKeyView, frozen=True):
    """A key just made or rotated, with its text, which is never shown again."""

    key: str

    def __repr__(self) -> str:
        return f"NewKeyView({self.prefix})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("prefix", self.prefix)]


class ServiceView(msgspec.Struct, frozen=True):
    """A service account."""

    id: UUID
    name: str
    disabled: bool
    made_by: UUID
    created_at: datetime


class RoledServiceView(ServiceView, frozen=True):
    """A service account, and the roles that it was given."""

    roles: tuple[str, ...]


def user_view(user: User) -> UserView:
    return UserView(user.id, user.email, user.name, user.status, user.created_at)


def me_view(user: User, roles: tuple[str, ...]) -> MeView:
    return MeView(user.id, user.email, user.name, user.status, user.created_at, user.verified_at is not None, roles)


def device_view(device: KnownDevice) -> DeviceView:
    return DeviceView(device.first_seen_at, device.last_seen_at)


def email_change_view(change: EmailChange) -> EmailChangeView:
    return EmailChangeView(change.new_email, change.created_at, change.expires_at)


def session_view(session: Session, current: UUID | None) -> SessionView:
    ends = min(session.expires_at, session.idle_expires_at)
    return SessionView(session.id, session.created_at, session.used_at, ends, session.address, session.agent, current=session.id == current)


def key_view(key: ApiKey) -> KeyView:
    return KeyView(**_told(key))


def stated_key_view(key: ApiKey, now: datetime) -> StatedKeyView:
    return StatedKeyView(**_told(key), status=_status(key, now))


def new_key_view(key: ApiKey, text: str, now: datetime) -> NewKeyView:
    return NewKeyView(**_told(key), status=_status(key, now), key=text)


def _told(key: ApiKey) -> dict[str, Any]:
    told = {name: getattr(key, name) for name in KeyView.__struct_fields__ if name != "previous"}
    return told | {"previous": None if key.previous_until is None else PreviousKeyView(key.previous_until, key.previous_used_at)}


def _status(key: ApiKey, now: datetime) -> KeyStatus:
    if key.expires_at is not None and key.expires_at <= now:
        return KeyStatus.EXPIRED
    return KeyStatus.ROTATING if key.previous_until is not None and now < key.previous_until else KeyStatus.ACTIVE


def service_view(service: ServiceAccount) -> ServiceView:
    return ServiceView(service.id, service.name, service.disabled_at is not None, service.made_by, service.created_at)


def roled_service_view(service: ServiceAccount, roles: tuple[str, ...]) -> RoledServiceView:
    return RoledServiceView(service.id, service.name, service.disabled_at is not None, service.made_by, service.created_at, roles)


def shown(page: Page[A], view: Callable[[A], B]) -> Page[B]:
    """The page with each item as it is shown."""
    return Page([view(item) for item in page.items], page.next)
