"""Least privilege: which grants people use, and which they hold for nothing (ASVS V8.2.1, rule AUTH004)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery
from fortress.domains.access.repository import BATCH, HeldBy, PermissionUses, RoleHolders
from fortress.domains.access.service.holdings import Assignment, in_use
from fortress.security import SYSTEM, Method, PermissionTable, Principal
from fortress.security.uses import Use, UseKeeper

USUAL_DAYS: Final = 90
_CURSOR: Final = "access.unused"
_MOST_BATCHES: Final = 10
_FIRST: Final = UUID(int=0)


class UnusedGrant(msgspec.Struct, frozen=True):
    """Something that somebody may do and has not done for a while.

    Attributes:
        roles: which give it.
        last_used: the day (UTC); None: never since uses are noted.
        held_since: when their roles last changed, so that nobody is blamed for what they were given yesterday.
    """

    user_id: UUID
    grant: str
    permission: str
    roles: list[str]
    last_used: date | None
    held_since: datetime


class UsageService(UseKeeper):
    """What is used, written down by day; and what is not."""

    def __init__(
        self, database: Database, holders: RoleHolders, uses: PermissionUses, permissions: PermissionTable, clock: Clock, ids: Ids
    ) -> None:
        self._database = database
        self._holders = holders
        self._uses = uses
        self._permissions = permissions
        self._clock = clock
        self._ids = ids
        self._usual = [role.name for role in permissions.roles.values() if role.by_default]
        self._usual_grants = permissions.grants_of(self._usual, Method.SYSTEM)

    async def keep_uses(self, uses: Sequence[Use]) -> None:
        # Every process writes in one order, so that none waits for another that waits for it.
        ordered = sorted(uses, key=lambda use: (use.person, use.grant))
        async with self._database.unit(SYSTEM) as unit:
            await self._uses.keep(
                unit,
                ids=[self._ids.new() for _ in ordered],
                people=[use.person for use in ordered],
                names=[use.grant for use in ordered],
                days=[use.day for use in ordered],
            )

    async def unused(self, query: PageQuery, days: int, caller: Principal) -> Page[UnusedGrant]:
        """What people hold beyond what everyone does, and have not used in so many days; by person and grant.

        A page may be shorter than asked for, even empty, and still have a next one.
        """
        reader = self._database.reader(caller)
        place = reader.cursors.read(query.cursor, _CURSOR, caller, tuple[UUID, str]) if query.cursor else (_FIRST, "")
        since = (self._clock.now() - timedelta(days=days)).date()
        found: list[UnusedGrant] = []
        person, grant = place
        write = partial(reader.cursors.write, _CURSOR, caller)
        for _ in range(_MOST_BATCHES):
            rows = await self._holders.beyond_usual(reader, first=person, usual=self._usual)
            found += [one for row in rows for one in self._unused_by(row, since) if (one.user_id, one.grant) > (person, grant)]
            if len(found) > query.limit:
                last = found[query.limit - 1]
                return Page(found[: query.limit], write((last.user_id, last.grant)))
            if len(rows) < BATCH:
                return Page(found, None)
            # Everything of this person has been seen; no grant's name comes after this.
            person, grant = rows[-1].user_id, _AFTER_ALL
        return Page(found, write((person, grant)))

    def _unused_by(self, row: HeldBy, since: date) -> Iterator[UnusedGrant]:
        by_grant: dict[str, list[str]] = {}
        for one in in_use(row, self._clock.now()):
            for name in self._beyond_usual(row, one):
                by_grant.setdefault(name, []).append(one.name)
        for name, roles in sorted(by_grant.items()):
            if self._goes_further(name, by_grant):
                continue
            last = row.uses.get(name)
            if last is None or last < since:
                yield UnusedGrant(row.user_id, name, self._permissions.permission_of(name), roles, last, row.changed_at)

    def _goes_further(self, name: str, held: Container[str]) -> bool:
        """Whether they hold the same over everyone's rows too: that is what they are seen to use then."""
        over_all = self._permissions.permissions[self._permissions.permission_of(name)].any.name
        return name != over_all and over_all in held

    def _beyond_usual(self, row: HeldBy, one: Assignment) -> list[str]:
        """The grants that this role gives and not everyone has."""
        if one.name in self._permissions.roles:
            bits = self._permissions.grants_of([one.name], Method.SYSTEM)
        else:
            grants = next((role.grants for role in row.custom if role.name == one.name), ())
            bits = self._permissions.grants_named(grants)
        return self._permissions.names_of(bits & ~self._usual_grants)


_AFTER_ALL: Final = "\U0010ffff"
