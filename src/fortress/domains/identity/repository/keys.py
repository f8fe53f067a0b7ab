"""Questions about API keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, change, delete, exists, many, one, or_, page, param, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import ApiKey, ServiceAccount, User

_now = param("now", datetime)


class KeyState(msgspec.Struct, frozen=True):
    """What an API key is judged by."""

    user_id: UUID
    digest: bytes
    scopes: tuple[str, ...]
    expires_at: datetime | None
    networks: tuple[str, ...]
    previous_digest: bytes | None
    previous_until: datetime | None

    def __repr__(self) -> str:
        return f"KeyState(of {self.user_id})"


_good = (ApiKey.c.revoked_at.is_(None), or_(ApiKey.c.expires_at.is_(None), ApiKey.c.expires_at > _now))
_of_owner = (ApiKey.c.id == param("id"), ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None))
# Whoever of the two kinds of owners it is: ids are never given twice.
_owner_active = or_(
    exists(select(User.c.id).where(User.c.id == ApiKey.c.user_id, User.c.status == UserStatus.ACTIVE)),
    exists(select(ServiceAccount.c.id).where(ServiceAccount.c.id == ApiKey.c.user_id, ServiceAccount.c.disabled_at.is_(None))),
)


class ApiKeyRepository(Repository[ApiKey]):
    """Keys of people and of service accounts."""

    living = one(
        select(
            ApiKey.c.user_id,
            ApiKey.c.digest,
            ApiKey.c.scopes,
            ApiKey.c.expires_at,
            ApiKey.c.networks,
            ApiKey.c.previous_digest,
            ApiKey.c.previous_until,
        ).where(ApiKey.c.id == param("id"), *_good, _owner_active),
        into=KeyState,
    )
    by_id = one(select(ApiKey).where(*_of_owner))
    of_user = page(select(ApiKey).where(ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None)), newest_first=ApiKey.c.created_at)
    counted = many(select(ApiKey.c.id).where(ApiKey.c.user_id == param("user"), *_good), into=UUID, limit=100)
    describe = change(update(ApiKey).where(*_of_owner).values(name=param("name"), networks=param("networks")).returning(ApiKey.table))
    # Two rotations at once: the second one finds another key than the one it read.
    rotate = change(
        update(ApiKey)
        .where(*_of_owner, ApiKey.c.digest == param("before"))
        .values(
            digest=param("digest"),
            rotated_at=_now,
            expires_at=param("expires_at"),
            used_at=None,
            previous_digest=ApiKey.c.digest,
            previous_until=param("until"),
            previous_used_at=ApiKey.c.used_at,
        )
        .returning(ApiKey.table)
    )
    of_person = many(select(ApiKey).where(ApiKey.c.user_id == param("person")).order_by(ApiKey.c.created_at), limit=10_000)
    erase = change(delete(ApiKey).where(ApiKey.c.user_id == param("person")))
    revoke = change(update(ApiKey).where(*_of_owner).values(revoked_at=_now))
    revoke_all = change(update(ApiKey).where(ApiKey.c.user_id == param("user"), ApiKey.c.revoked_at.is_(None)).values(revoked_at=_now))
    seen = change(
        update(ApiKey)
        .where(ApiKey.c.id == param("id"), or_(ApiKey.c.used_at.is_(None), ApiKey.c.used_at < param("before")))
        .values(used_at=_now)
    )
    seen_previous = change(
        update(ApiKey)
        .where(ApiKey.c.id == param("id"), or_(ApiKey.c.previous_used_at.is_(None), ApiKey.c.previous_used_at < param("before")))
        .values(previous_used_at=_now)
    )
