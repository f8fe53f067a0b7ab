"""Questions about sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, any_, change, delete, exists, func, many, one, page, param, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import Session, User

_now = param("now", datetime)


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


class LivingSession(msgspec.Struct, frozen=True):
    """When a living session ends by itself, and how it was proved."""

    expires_at: datetime
    idle_expires_at: datetime
    proved_at: datetime
    factors: int


_of_active_user = exists(select(User.c.id).where(User.c.id == Session.c.user_id, User.c.status == UserStatus.ACTIVE))
_unended = (Session.c.revoked_at.is_(None), Session.c.expires_at > _now, Session.c.idle_expires_at > _now)
_beyond = (
    select(Session.c.id)
    .where(Session.c.user_id == param("user"), *_unended)
    .order_by(Session.c.created_at.desc(), Session.c.id.desc())
    .offset(param("kept", int))
)
_old = select(Session.c.id).where(Session.c.expires_at < param("before")).limit(1000)


class SessionRepository(Repository[Session]):
    """Sign-ins and their refresh tokens."""

    living = one(
        select(Session.c.expires_at, Session.c.idle_expires_at, Session.c.proved_at, Session.c.factors).where(
            Session.c.id == param("id"), Session.c.user_id == param("user"), *_unended, _of_active_user
        ),
        into=LivingSession,
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
    of_person = many(select(Session).where(Session.c.user_id == param("person")).order_by(Session.c.created_at), limit=10_000)
    erase = change(delete(Session).where(Session.c.user_id == param("person")))
    # Whoever began one has the account's row, so that no two of them find the same number.
    end_oldest = change(
        update(Session)
        .where(Session.c.id.in_(_beyond), Session.c.user_id == param("user"))
        .values(revoked_at=_now, ended_by=param("ended_by"))
        .returning(Session.c.id),
        into=UUID,
    )
    end_these = change(
        update(Session)
        .where(Session.c.id == any_(param("ids", list[UUID])), Session.c.user_id == param("user"), Session.c.revoked_at.is_(None))
        .values(revoked_at=_now, ended_by=param("ended_by"))
    )
    forget = change(delete(Session).where(Session.c.id.in_(_old)))
