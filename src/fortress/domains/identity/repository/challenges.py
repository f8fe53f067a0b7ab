"""Questions about challenges."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.data import Repository, change, delete, one, param, select, update
from fortress.domains.identity.models import Challenge

_now = param("now", datetime)
_good = (Challenge.c.digest == param("digest"), Challenge.c.purpose == param("purpose"), Challenge.c.expires_at > _now)
_old = select(Challenge.c.id).where(Challenge.c.expires_at < _now).limit(1000)


class ChallengeRepository(Repository[Challenge]):
    """Questions that were asked of somebody and not answered yet."""

    good = one(select(Challenge).where(*_good, Challenge.c.tries < param("most")))
    # The row is written, so that answers to one challenge are judged one after another.
    tried = change(
        update(Challenge).where(*_good, Challenge.c.tries < param("most")).values(tries=Challenge.c.tries + 1).returning(Challenge.table),
        into=Challenge,
    )
    take = change(delete(Challenge).where(*_good).returning(Challenge.table), into=Challenge)
    settle = change(delete(Challenge).where(Challenge.c.id == param("id")))
    erase = change(delete(Challenge).where(Challenge.c.user_id == param("user", UUID)))
    forget = change(delete(Challenge).where(Challenge.c.id.in_(_old)))
