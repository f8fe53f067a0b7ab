"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, change, delete, exists, func, many, one, or_, page, param, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import ApiKey, Session, User

_now = param("now", datetime)


class UserRepository(Repository[User]):
    """People with an account."""

    by_id = one(select(User).where(User.c.id == param("id")))
    by_email = one(select(User).where(User.c.email_key == param("email_key")))
    recent = page(select(User), newest_first=User.c.created_at)
    # The row is written, not only looked at: whoever disables the account or changes the password at this moment either sees
    # the new session, and ends it, or makes this find nothing.
    admit = change(
        update(User)
        .where(User.c.id == param("id"), User.c.password_hash == param("verified"), User.c.status == UserStatus.ACTIVE)
        .values(signed_in_at=_now, password_hash=param("kept"))
    )
    change_password = change(
        update(User)
        .where(User.c.id == param("id"), User.c.password_hash == param("verified"), User.c.status == UserStatus.ACTIVE)
        .values(password_hash=param("password_hash"), version=User.c.version + 1)
    )


class SessionState(msgspec.Struct, frozen=True):
    """What a refresh token that is not the good one is judged by."""

    user_id: UUID
    generation: int
    token_hash: bytes
    previous_hash: bytes | None
    rotated_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime
    idle_expires_at: datetime
    status: UserStatus


class SessionEnd(msgspec.Struct, frozen=True):
    """When a living session ends by itself."""

    expires_at: datetime
    idle_expires_at: datetime


_of_active_user = exists(select(User.c.id).where(User.c.id == Session.c.user_id, User.c.status == UserStatus.ACTIVE))
_unended = (Session.c.revoked_at.is_(None), Session.c.expires_at > _now, Session.c.idle_expires_at > _now)
_old = select(Session.c.id).where(Session.c.expires_at < param("before")).limit(1000)


class SessionRepository(Repository[Session]):
    """Sign-ins and their refresh tokens."""

    living = one(
        select(Session.c.expires_at, Session.c.idle_expires_at).where(
            Session.c.id == param("id"), Session.c.user_id == param("user"), *_unended, _of_active_user
        ),
        into=SessionEnd,
    )
    of_user = page(select(Session).where(Session.c.user_id == param("user"), *_unended), newest_first=Session.c.created_at)
    state = one(
        select(
            Session.c.user_id,
            Session.c.generation,
            Session.c.token_hash,
            Session.c.previous_hash,
            Session.c.rotated_at,
            Session.c.revoked_at,
            Session.c.expires_at,
            Session.c.idle_expires_at,
            User.c.status,
        )
        .join_from(Session.table, User.table, User.c.id == Session.c.user_id)
        .where(Session.c.id == param("id")),
        into=SessionState,
    )
    # One statement decides the race: of any number of equal tokens at once, exactly one finds its hash still there.
    rotate = change(
        update(Session)
        .where(Session.c.id == param("id"), Session.c.token_hash == param("presented"), *_unended, _of_active_user)
        .values(
            generation=Session.c.generation + 1,
            previous_hash=Session.c.token_hash,
            token_hash=param("successor"),
            rotated_at=_now,
            used_at=_now,
            idle_expires_at=func.least(param("idle_until", datetime), Session.c.expires_at),
        )
        .returning(Session.c.user_id),
        into=UUID,
    )
    end = change(
        update(Session)
        .where(Session.c.id == param("id"), Session.c.user_id == param("user"), Session.c.revoked_at.is_(None))
        .values(revoked_at=_now, ended_by=param("ended_by"))
    )
    end_others = change(
        update(Session)
        .where(Session.c.user_id == param("user"), Session.c.id != param("kept"), Session.c.revoked_at.is_(None))
        .values(revoked_at=_now, ended_by=param("ended_by"))
    )
    forget = change(delete(Session).where(Session.c.id.in_(_old)))


class KeyState(msgspec.Struct, frozen=True):
    """What an API key is judged by."""

    user_id: UUID
    digest: bytes
    scopes: tuple[str, ...]
    expires_at: datetime | None


_good = (ApiKey.c.revoked_at.is_(None), or_(ApiKey.c.expires_at.is_(None), ApiKey.c.expires_at > _now))


class ApiKeyRepository(Repository[ApiKey]):
    """Keys of services."""

    living = one(
        select(ApiKey.c.user_id, ApiKey.c.digest, ApiKey.c.scopes, ApiKey.c.expires_at).where(
            ApiKey.c.id == param("id"),
            *_good,
            exists(select(User.c.id).where(User.c.id == ApiKey.c.user_id, User.c.status == UserStatus.ACTIVE)),
        ),
        into=KeyState,
    )
    by_id = one(select(ApiKey).where(ApiKey.c.id == param("id"), ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None)))
    of_user = page(select(ApiKey).where(ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None)), newest_first=ApiKey.c.created_at)
    counted = many(select(ApiKey.c.id).where(ApiKey.c.user_id == param("user"), *_good), into=UUID, limit=100)
    revoke = change(
        update(ApiKey)
        .where(ApiKey.c.id == param("id"), ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None))
        .values(revoked_at=_now)
    )
    seen = change(
        update(ApiKey)
        .where(ApiKey.c.id == param("id"), or_(ApiKey.c.used_at.is_(None), ApiKey.c.used_at < param("before")))
        .values(used_at=_now)
    )
