"""API keys: for services that act for their owner, within scopes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery
from fortress.domains.access.contract import Access
from fortress.domains.identity.contract import TooManyKeys, UnknownKey
from fortress.domains.identity.models import ApiKey
from fortress.domains.identity.repository import ApiKeyRepository
from fortress.domains.identity.service.revocations import Revocations
from fortress.errors import FieldError, Invalid
from fortress.security import Method, PermissionTable, Principal
from fortress.security.apikeys import new_api_key

MOST: Final = 50


class KeyService:
    """Making, listing and revoking one's own keys."""

    def __init__(
        self,
        database: Database,
        keys: ApiKeyRepository,
        access: Access,
        permissions: PermissionTable,
        revocations: Revocations,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._keys = keys
        self._access = access
        self._permissions = permissions
        self._revocations = revocations
        self._clock = clock
        self._ids = ids

    async def make(self, name: str, scopes: Sequence[str], days: int | None, owner: Principal) -> tuple[ApiKey, str]:
        """A new key and its text, which nobody can show again.

        Args:
            name: what it is for.
            scopes: names of grants that the owner holds; a permission's bare name means the grants of it that they hold.
            days: until it ends by itself; None: never.
            owner: whose it is, signed in by a session.

        Raises:
            Invalid: a scope that the owner does not hold, or that no key may use.
            TooManyKeys: the owner has MOST that still work.
        """
        holding = await self._access.holding_of(owner.id)
        held = self._permissions.names_of(self._permissions.held(holding, Method.API_KEY, owner.factors).grants)
        granted = within(scopes, held)
        now = self._clock.now()
        made = new_api_key(self._ids.new())
        key = ApiKey(
            id=made.id,
            user_id=owner.id,
            name=name,
            prefix=made.prefix,
            digest=made.digest,
            scopes=granted,
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
            revoked_at=None,
            used_at=None,
        )
        async with self._database.unit(owner) as unit:
            if len(await self._keys.counted(unit, user=owner.id, now=now)) >= MOST:
                raise TooManyKeys
            await self._keys.add(unit, key)
            unit.audit("api_keys.made", target=key.id, detail={"scopes": list(granted)})
        return key, made.text

    async def read(self, id: UUID, owner: Principal) -> ApiKey:
        """One of one's own keys, or NotFound."""
        return await self._keys.by_id(self._database.reader(owner), id=id, user=owner.id)

    async def recent(self, query: PageQuery, owner: Principal) -> Page[ApiKey]:
        """One's own keys that are not revoked, newest first."""
        return await self._keys.of_user(self._database.reader(owner), query=query, user=owner.id)

    async def revoke(self, id: UUID, owner: Principal) -> None:
        """End a key; refused on every process within a second.

        Raises:
            NotFound: it is not there, not one's own, or revoked already.
        """
        async with self._database.unit(owner) as unit:
            if not await self._keys.revoke(unit, id=id, user=owner.id, now=self._clock.now()):
                raise UnknownKey
            unit.audit("api_keys.revoked", target=id)
            self._revocations.key(unit, id)


def within(scopes: Sequence[str], held: Sequence[str]) -> tuple[str, ...]:
    """The scopes as names of grants, each of which is held.

    Raises:
        Invalid: some are not held; names each.
    """
    granted: dict[str, None] = {}
    errors = []
    for place, scope in enumerate(scopes):
        meant = [name for name in held if name in (scope, f"{scope}.own", f"{scope}.any")]
        if not meant:
            errors.append(FieldError(f"/scopes/{place}", "You do not hold this, or no key may use it", "scope_not_held"))
        granted.update(dict.fromkeys(meant))
    if errors:
        raise Invalid(errors)
    return tuple(sorted(granted))
