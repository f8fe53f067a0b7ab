"""Questions about passkeys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.data import Repository, and_, change, delete, many, one, or_, param, select, update
from fortress.domains.identity.models import Passkey

MOST_PASSKEYS = 20
_now = param("now", datetime)
_count = param("count", int)


class PasskeyRepository(Repository[Passkey]):
    """Passkeys."""

    known = one(select(Passkey).where(Passkey.c.credential_id == param("credential")))
    by_id = one(select(Passkey).where(Passkey.c.id == param("id"), Passkey.c.user_id == param("user")))
    of_user = many(
        select(Passkey).where(Passkey.c.user_id == param("user")).order_by(Passkey.c.created_at, Passkey.c.id), limit=MOST_PASSKEYS
    )
    owned = many(select(Passkey.c.id).where(Passkey.c.user_id == param("user")), into=UUID, limit=MOST_PASSKEYS)
    # WebAuthn Level 3 §7.2 step 22: a counter that does not grow tells of a copy; one that is 0 for good tells nothing.
    used = change(
        update(Passkey)
        .where(
            Passkey.c.id == param("id"),
            or_(Passkey.c.sign_count < _count, and_(Passkey.c.sign_count == 0, _count == 0)),
        )
        .values(sign_count=_count, backed_up=param("backed_up"), used_at=_now, version=Passkey.c.version + 1)
    )
    drop = change(delete(Passkey).where(Passkey.c.id == param("id"), Passkey.c.user_id == param("user")))
    erase = change(delete(Passkey).where(Passkey.c.user_id == param("user", UUID)))
