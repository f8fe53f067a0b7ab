"""Questions about API keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, change, delete, exists, many, one, or_, page, param, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import ApiKey, User

_now = param("now", datetime)


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
    of_person = many(select(ApiKey).where(ApiKey.c.user_id == param("person")).order_by(ApiKey.c.created_at), limit=10_000)
    erase = change(delete(ApiKey).where(ApiKey.c.user_id == param("person")))
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
