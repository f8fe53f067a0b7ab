"""Why somebody may do something, or what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.access.contract import NotAHolder, UnknownPermission
from fortress.domains.access.repository import CustomRoles, Held, RoleHolders
from fortress.domains.access.service.defining import Origin
from fortress.domains.access.service.holdings import Assignment, assigned, in_use
from fortress.security import SYSTEM, Method, Permission, PermissionTable, Principal


class Missing(StrEnum):
    """What stands between a person and a permission."""

    ROLE = "role"
    SUSPENDED = "suspended"
    ENDED = "ended"
    SECOND_FACTOR = "second_factor"
    SCOPE = "scope"
    METHOD = "method"


class Source(msgspec.Struct, frozen=True):
    """A role that gives a permission.

    Attributes:
        reach: `own` or `any`; None for a permission that has no reach.
        expires_at: when the person ceases to hold the role; None: never.
    """

    role: str
    origin: Origin
    reach: str | None
    second_factor: bool
    expires_at: datetime | None


class Way(msgspec.Struct, frozen=True):
    """What a way of authenticating needs for it.

    Attributes:
        allowed: whether the permission may be used so at all.
        second_factor: whether the session must have been proved with two factors.
        scopes: an API key needs one of these.
    """

    method: str
    allowed: bool
    second_factor: bool
    scopes: list[str]


class Explanation(msgspec.Struct, frozen=True):
    """Whether somebody may use a permission now, and by what.

    Attributes:
        allowed: whether there is a way to.
        reach: the furthest that a role gives: `any`, `own`, or None where it has no meaning.
        roles: by which roles; empty when it is not allowed.
        missing: what is missing; empty when it is allowed.
        given_by: roles that would give it, were they held; at most 20 of those made at run time.
    """

    user_id: UUID
    permission: str
    title: str
    allowed: bool
    reach: str | None
    roles: list[Source]
    ways: list[Way]
    missing: list[Missing]
    given_by: list[str]


class OwnExplanation(msgspec.Struct, frozen=True):
    """The same of oneself, and of the credential that one came with.

    Attributes:
        usable_now: whether this very session or key may use it.
        lacking: what stands in between, when it may not.
    """

    explanation: Explanation
    usable_now: bool
    lacking: list[Missing]


class HeldPermission(msgspec.Struct, frozen=True):
    """A permission that somebody has.

    Attributes:
        by: the ways of authenticating that may use it.
        second_factor: whether every role that gives it asks for a second factor.
        roles: which give it.
        usable_now: whether the session or key that asked may use it.
    """

    permission: str
    title: str
    reach: str | None
    by: list[str]
    second_factor: bool
    roles: list[str]
    expires_at: datetime | None
    usable_now: bool


class ExplainService:
    """Answers from the rows as they are now; nothing is remembered."""

    def __init__(self, database: Database, holders: RoleHolders, custom: CustomRoles, permissions: PermissionTable, clock: Clock) -> None:
        self._database = database
        self._holders = holders
        self._custom = custom
        self._permissions = permissions
        self._clock = clock

    async def explain(self, person: UUID, permission: str) -> Explanation:
        """Whether this person may, and why.

        Raises:
            UnknownPermission: no domain declares it.
            NotAHolder: nobody of this id.
        """
        wanted = self._permission(permission)
        held = await self._held(person)
        return await self._explained(person, wanted, held)

    async def explain_own(self, caller: Principal, permission: str) -> OwnExplanation:
        """Whether the caller may, why, and whether by what they came with. Raises UnknownPermission."""
        wanted = self._permission(permission)
        held = await self._held(caller.id)
        lacking = self._lacking(caller, wanted) if self._sources(held, wanted) else []
        usable = bool(self._permissions.need(wanted).mask & caller.grants)
        return OwnExplanation(await self._explained(caller.id, wanted, held), usable, lacking)

    async def own(self, caller: Principal) -> list[HeldPermission]:
        """Everything that the caller's roles give, by name."""
        held = await self._held(caller.id)
        return [
            self._line(caller, permission, sources)
            for _, permission in sorted(self._permissions.permissions.items())
            if (sources := self._sources(held, permission))
        ]

    def _line(self, caller: Principal, permission: Permission, sources: list[Source]) -> HeldPermission:
        ends = [source.expires_at for source in sources]
        return HeldPermission(
            permission.name,
            permission.title,
            _furthest(sources),
            sorted(permission.by),
            second_factor=all(source.second_factor for source in sources),
            roles=[source.role for source in sources],
            expires_at=None if None in ends else max(end for end in ends if end is not None),
            usable_now=bool(self._permissions.need(permission).mask & caller.grants),
        )

    async def _explained(self, person: UUID, wanted: Permission, held: Held) -> Explanation:
        sources = self._sources(held, wanted)
        given_by = [] if sources else await self._given_by(wanted)
        return Explanation(
            person,
            wanted.name,
            wanted.title,
            bool(sources),
            _furthest(sources),
            sources,
            self._ways(wanted, sources),
            [] if sources else self._missing(held, wanted),
            given_by,
        )

    def _permission(self, name: str) -> Permission:
        found = self._permissions.permissions.get(name)
        if found is None:
            raise UnknownPermission
        return found

    async def _held(self, person: UUID) -> Held:
        held = await self._holders.held.maybe(self._database.reader(SYSTEM), person=person)
        if held is None:
            raise NotAHolder
        return held

    def _sources(self, held: Held, wanted: Permission) -> list[Source]:
        """The roles in use that give it."""
        return self._giving(held, in_use(held, self._clock.now()), wanted)

    def _giving(self, held: Held, assignments: Iterable[Assignment], wanted: Permission) -> list[Source]:
        found = (self._source(held, one, wanted) for one in assignments)
        return [source for source in found if source is not None]

    def _source(self, held: Held, one: Assignment, wanted: Permission) -> Source | None:
        need = self._permissions.need(wanted)
        declared = self._permissions.roles.get(one.name)
        if declared is not None:
            bits, second_factor = self._permissions.grants_of([one.name], Method.SYSTEM), declared.second_factor
        else:
            role = next((role for role in held.custom if role.name == one.name), None)
            if role is None:
                return None
            bits, second_factor = self._permissions.grants_named(self._permissions.implied(role.grants)), role.second_factor
        if not bits & need.mask:
            return None
        reach = ("any" if bits & need.anyone else "own") if wanted.reach else None
        return Source(one.name, Origin.DECLARED if declared else Origin.MADE, reach, second_factor, one.expires_at)

    def _missing(self, held: Held, wanted: Permission) -> list[Missing]:
        """Why none of the roles gives it."""
        given = assigned(held)
        giving = {source.role for source in self._giving(held, given, wanted)}
        if not giving:
            return [Missing.ROLE]
        now = self._clock.now()
        found = [Missing.SUSPENDED] if held.suspended else []
        return found + [Missing.ENDED] * all(one.end <= now for one in given if one.name in giving)

    def _ways(self, wanted: Permission, sources: list[Source]) -> list[Way]:
        second_factor = bool(sources) and all(source.second_factor for source in sources)
        scopes = sorted({wanted.own.name if source.reach == "own" else wanted.any.name for source in sources})
        by_key = Method.API_KEY in wanted.by
        return [
            Way(Method.SESSION, Method.SESSION in wanted.by, second_factor, []),
            Way(Method.API_KEY, by_key, second_factor=False, scopes=scopes if by_key else []),
        ]

    def _lacking(self, caller: Principal, wanted: Permission) -> list[Missing]:
        """What keeps this session or key from what its person may."""
        mask = self._permissions.need(wanted).mask
        if caller.grants & mask:
            return []
        if caller.method not in wanted.by:
            return [Missing.METHOD]
        return [Missing.SECOND_FACTOR if caller.method is Method.SESSION else Missing.SCOPE]

    async def _given_by(self, wanted: Permission) -> list[str]:
        mask = self._permissions.need(wanted).mask
        declared = [name for name in self._permissions.roles if self._permissions.grants_of([name], Method.SYSTEM) & mask]
        names = list(dict.fromkeys((wanted.own.name, wanted.any.name)))
        made = await self._custom.granting(self._database.reader(SYSTEM), names=names)
        return sorted({*declared, *made})


def _furthest(sources: list[Source]) -> str | None:
    reaches = {source.reach for source in sources}
    return next((reach for reach in ("any", "own") if reach in reaches), None)
