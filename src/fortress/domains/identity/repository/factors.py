"""Questions about second factors."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import case

from fortress.data import Repository, change, delete, exists, func, many, not_, one, param, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import Authenticator, Passkey, RecoveryCode, Session, User

_now = param("now", datetime)
_user = param("user", UUID)
_mine = Authenticator.c.user_id == _user
_confirmed = Authenticator.c.confirmed_at.is_not(None)
_step = param("step", int)
_living = (Session.c.user_id == _user, Session.c.revoked_at.is_(None), Session.c.expires_at > _now, Session.c.idle_expires_at > _now)


class Account(msgspec.Struct, frozen=True):
    """What a proof of who somebody is depends on."""

    id: UUID
    password_hash: str | None
    status: UserStatus

    def __repr__(self) -> str:
        return f"<Account id={self.id}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


class Standing(msgspec.Struct, frozen=True):
    """What there is of somebody who signs in: their second factors, and how many living sessions."""

    totp: bool
    passkey: bool
    recovery_code: bool
    sessions: int

    @property
    def factors(self) -> tuple[str, ...]:
        """The second factors that are on."""
        return tuple(name for name in ("totp", "passkey") if getattr(self, name))

    @property
    def methods(self) -> tuple[str, ...]:
        """What a second step may be answered with; empty: no second factor is on."""
        if not (self.totp or self.passkey):
            return ()
        return tuple(name for name in ("totp", "passkey", "recovery_code") if getattr(self, name))


class AuthenticatorRepository(Repository[Authenticator]):
    """Authenticator apps, and what there is of somebody as a whole."""

    # Locked, so that guesses at one account's codes are counted one after another, however many come at once.
    held = one(select(Authenticator).where(_mine).with_for_update())
    of_user = one(select(Authenticator).where(_mine))
    confirm = change(
        update(Authenticator).where(_mine, not_(_confirmed)).values(confirmed_at=_now, last_step=_step, misses=0, missed_since=_now)
    )
    accept = change(update(Authenticator).where(_mine, _confirmed, Authenticator.c.last_step < _step).values(last_step=_step))
    missed = change(
        update(Authenticator)
        .where(_mine)
        .values(
            misses=case((Authenticator.c.missed_since < param("before"), 1), else_=Authenticator.c.misses + 1),
            missed_since=case((Authenticator.c.missed_since < param("before"), _now), else_=Authenticator.c.missed_since),
        )
        .returning(Authenticator.c.misses),
        into=int,
    )
    drop = change(delete(Authenticator).where(_mine))
    standing = one(
        select(
            exists(select(Authenticator.c.user_id).where(_mine, _confirmed)).label("totp"),
            exists(select(Passkey.c.id).where(Passkey.c.user_id == _user)).label("passkey"),
            exists(select(RecoveryCode.c.id).where(RecoveryCode.c.user_id == _user)).label("recovery_code"),
            select(func.count())
            .select_from(Session.table)
            .where(
                Session.c.user_id == _user, Session.c.revoked_at.is_(None), Session.c.expires_at > _now, Session.c.idle_expires_at > _now
            )
            .scalar_subquery()
            .label("sessions"),
        ),
        into=Standing,
    )


class RecoveryCodeRepository(Repository[RecoveryCode]):
    """Recovery codes."""

    # The row goes with the first who shows the code, so that of any number at once exactly one has it.
    use = change(delete(RecoveryCode).where(RecoveryCode.c.user_id == _user, RecoveryCode.c.digest == param("digest")))
    of_user = many(select(RecoveryCode).where(RecoveryCode.c.user_id == _user), limit=100)
    drop = change(delete(RecoveryCode).where(RecoveryCode.c.user_id == _user))


class AccountLock(Repository[User]):
    """An account, held still while what one can sign in to it with changes."""

    held = one(select(User.c.id, User.c.password_hash, User.c.status).where(User.c.id == param("id")).with_for_update(), into=Account)
