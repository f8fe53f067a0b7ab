"""How what is revoked becomes known: everywhere by the commit itself, here right after it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fortress.data import Unit
from fortress.security.callers import CallerCache


class Revocations:
    """Tells every process who may no longer be believed from memory."""

    def __init__(self, callers: CallerCache) -> None:
        self._callers = callers

    def session(self, unit: Unit, id: UUID) -> None:
        """A session has ended."""
        unit.notify(f"revoked:session:{id}")
        unit.after_commit(partial(self._forget_session, id))

    def key(self, unit: Unit, id: UUID) -> None:
        """An API key was revoked."""
        unit.notify(f"revoked:key:{id}")
        unit.after_commit(partial(self._forget_session, id))

    def user(self, unit: Unit, id: UUID) -> None:
        """Something about a person has changed that every session and key of theirs depends on."""
        unit.notify(f"revoked:user:{id}")
        unit.after_commit(partial(self._forget_user, id))

    def _forget_session(self, id: UUID) -> None:
        self._callers.evict_session(id)

    def _forget_user(self, id: UUID) -> None:
        self._callers.evict_user(id)
