"""Questions about accounts."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, blind, change, delete, func, one, page, param, revision, select, update
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import User

_now = param("now", datetime)


class Credentials(msgspec.Struct, frozen=True):
    """What a password is checked against. Nothing of it is encrypted: it costs the same for those who exist and those who don't."""

    id: UUID
    password_hash: str | None
    status: UserStatus
    verified_at: datetime | None


class UserRepository(Repository[User]):
    """People with an account."""

    by_id = one(select(User).where(User.c.id == param("id")))
    by_email = one(select(User).where(User.c.email_key == blind("email")))
    credentials = one(
        select(User.c.id, User.c.password_hash, User.c.status, User.c.verified_at).where(User.c.email_key == blind("email")),
        into=Credentials,
    )
    named = page(select(User).where(User.c.name_key == blind("name")), newest_first=User.c.created_at)
    recent = page(select(User), newest_first=User.c.created_at)
    erase = change(delete(User).where(User.c.id == param("person")))
    # The row is written, not only looked at: whoever disables the account or changes the password at this moment either sees
    # the new session, and ends it, or makes this find nothing.
    admit = change(
        update(User)
        .where(
            User.c.id == param("id"), User.c.password_hash.is_not_distinct_from(param("verified", str)), User.c.status == UserStatus.ACTIVE
        )
        .values(signed_in_at=_now, password_hash=param("kept"))
    )
    # For who was seen at this revision: it finds the row only if nobody has written it since.
    admit_unchanged = change(
        update(User)
        .where(
            User.c.id == param("id"),
            User.c.password_hash == param("verified"),
            User.c.status == UserStatus.ACTIVE,
            revision(User) == param("revision", int),
        )
        .values(signed_in_at=_now, password_hash=param("kept"))
    )
    # Nothing changes but its revision.
    touch = change(update(User).where(User.c.id == param("id")).values(status=User.c.status))
    change_password = change(
        update(User)
        .where(User.c.id == param("id"), User.c.password_hash == param("verified"), User.c.status == UserStatus.ACTIVE)
        .values(password_hash=param("password_hash"), version=User.c.version + 1)
    )
    # None had a password before: then the one that is set is bound to that.
    reset_password = change(
        update(User)
        .where(
            User.c.id == param("id"), User.c.password_hash.is_not_distinct_from(param("verified", str)), User.c.status == UserStatus.ACTIVE
        )
        .values(password_hash=param("password_hash"), verified_at=func.coalesce(User.c.verified_at, _now), version=User.c.version + 1)
    )
    verify = change(
        update(User).where(User.c.id == param("id"), User.c.verified_at.is_(None)).values(verified_at=_now, version=User.c.version + 1)
    )
