"""Service accounts: programs that act in their own name, by keys of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery
from fortress.domains.access.contract import Access
from fortress.domains.identity.contract import TooManyServices, UnknownService
from fortress.domains.identity.models import ServiceAccount
from fortress.domains.identity.repository import ApiKeyRepository, ServiceAccountRepository
from fortress.domains.identity.service.revocations import Revocations
from fortress.security import SYSTEM, Principal

MOST: Final = 1000


class ServiceAccountService:
    """Making, listing, changing and removing them; their keys are KeyService's."""

    def __init__(
        self,
        database: Database,
        services: ServiceAccountRepository,
        keys: ApiKeyRepository,
        access: Access,
        revocations: Revocations,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._services = services
        self._keys = keys
        self._access = access
        self._revocations = revocations
        self._clock = clock
        self._ids = ids

    async def make(self, name: str, roles: Sequence[str], by: Principal) -> tuple[ServiceAccount, tuple[str, ...]]:
        """A new service account that holds these roles, and their names.

        Raises:
            Invalid: there is no such role, or it is the administrator's.
            NotHeld: who asks does not hold all that they grant.
            ServiceNameTaken: there is one of this name.
            TooManyServices: there are MOST.
        """
        service = ServiceAccount(self._ids.new(), name, made_by=by.id, created_at=self._clock.now(), disabled_at=None, version=1)
        async with self._database.unit(by) as unit:
            if await self._services.counted(unit) >= MOST:
                raise TooManyServices
            await self._services.add(unit, service)
            given = await self._access.enlist(unit, service.id, roles, by)
            unit.audit("services.made", target=service.id, detail={"name": name, "roles": list(given)})
        return service, given

    async def read(self, id: UUID) -> tuple[ServiceAccount, tuple[str, ...]]:
        """The service account of this id, and the roles that it holds. Raises UnknownService."""
        return await self._found(id), await self._access.assigned_to(id)

    async def require(self, id: UUID) -> None:
        """Raises UnknownService when there is none of this id."""
        await self._found(id)

    async def recent(self, query: PageQuery, by: Principal) -> Page[ServiceAccount]:
        """All of them, newest first."""
        return await self._services.recent(self._database.reader(by), query=query)

    async def change(self, id: UUID, by: Principal, *, name: str | None, disabled: bool | None) -> ServiceAccount:
        """Another name, or its keys refused or taken again; None leaves what is.

        Raises:
            UnknownService: nothing of this id.
            ServiceNameTaken: another one has this name.
            StaleVersion: it was changed in between.
        """
        async with self._database.unit(by) as unit:
            service = await self._services.by_id.maybe(unit, id=id)
            if service is None:
                raise UnknownService
            since = _disabled_at(service, self._clock.now(), disabled=disabled)
            wanted = msgspec.structs.replace(service, name=service.name if name is None else name, disabled_at=since)
            if wanted == service:
                return service
            saved = await self._services.save(unit, wanted)
            unit.audit("services.changed", target=id, detail={"name": saved.name, "disabled": saved.disabled_at is not None})
            self._revocations.user(unit, id)
        return saved

    async def remove(self, id: UUID, by: Principal) -> None:
        """Remove it: its keys are refused on every process within a second, its roles go.

        Raises:
            UnknownService: nothing of this id.
        """
        async with self._database.unit(by) as unit:
            service = await self._services.by_id.maybe(unit, id=id)
            if service is None:
                raise UnknownService
            await self._keys.revoke_all(unit, user=id, now=self._clock.now())
            await self._access.leave(unit, id)
            await self._services.remove(unit, service)
            unit.audit("services.removed", target=id, detail={"name": service.name})
            self._revocations.user(unit, id)

    async def _found(self, id: UUID) -> ServiceAccount:
        service = await self._services.by_id.maybe(self._database.reader(SYSTEM), id=id)
        if service is None:
            raise UnknownService
        return service


def _disabled_at(service: ServiceAccount, now: datetime, *, disabled: bool | None) -> datetime | None:
    if disabled is None:
        return service.disabled_at
    return (service.disabled_at or now) if disabled else None
