"""API keys: for programs that act for a person, or as a service account, within scopes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery
from fortress.domains.access.contract import Access
from fortress.domains.identity.contract import KeyReachesFurther, TooManyKeys, UnknownKey
from fortress.domains.identity.models import ApiKey
from fortress.domains.identity.repository import ApiKeyRepository
from fortress.domains.identity.service.revocations import Revocations
from fortress.errors import FieldError, Invalid, StaleVersion
from fortress.security import Method, PermissionTable, Principal
from fortress.security.apikeys import NewApiKey, new_api_key
from fortress.security.permissions import FACTORS, Held
from fortress.security.proof import SecondFactorRequired

MOST: Final = 50
_SAID: Final = 40


class KeyWish(msgspec.Struct, frozen=True):
    """A key as somebody wants it.

    Attributes:
        name: what it is for.
        scopes: names of grants; a permission's bare name means the grants of it that are held.
        days: until it ends by itself; None: never.
        networks: where it may be used from, in CIDR notation; none: anywhere.
    """

    name: str
    scopes: Sequence[str]
    days: int | None = None
    networks: tuple[str, ...] = ()


class KeyService:
    """Making, listing, changing, rotating and revoking keys; whose they are is said by `owner`, who asks by `by`."""

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

    async def make(self, wish: KeyWish, owner: UUID, by: Principal) -> tuple[ApiKey, str]:
        """A new key and its text, which nobody can show again.

        Raises:
            Invalid: a scope that the owner does not hold, that who asks does not hold, or that no key may use.
            TooManyKeys: the owner has MOST that still work.
        """
        whole, own = await self._held(owner, by)
        granted = within(wish.scopes, self._permissions.names_of(whole & own.grants))
        now = self._clock.now()
        made = new_api_key(self._ids.new())
        key = _new(made, owner, wish, granted, now)
        async with self._database.unit(by) as unit:
            if len(await self._keys.counted(unit, user=owner, now=now)) >= MOST:
                raise TooManyKeys
            await self._keys.add(unit, key)
            # The row holds all of them; an audit row has a bound.
            detail = {"owner": str(owner), "scopes": granted[:_SAID], "of": len(granted), "networks": wish.networks}
            unit.audit("api_keys.made", target=key.id, detail=detail)
        return key, made.text

    async def read(self, id: UUID, owner: UUID, by: Principal) -> ApiKey:
        """One of the owner's keys. Raises UnknownKey."""
        key = await self._keys.by_id.maybe(self._database.reader(by), id=id, user=owner)
        if key is None:
            raise UnknownKey
        return key

    async def recent(self, query: PageQuery, owner: UUID, by: Principal) -> Page[ApiKey]:
        """The owner's keys that are not revoked, newest first."""
        return await self._keys.of_user(self._database.reader(by), query=query, user=owner)

    async def change(self, id: UUID, owner: UUID, by: Principal, *, name: str | None, networks: tuple[str, ...] | None) -> ApiKey:
        """Another name, or other networks; None leaves what is. Raises UnknownKey."""
        async with self._database.unit(by) as unit:
            key = await self._keys.by_id.maybe(unit, id=id, user=owner)
            if key is None:
                raise UnknownKey
            wanted = {"name": key.name if name is None else name, "networks": key.networks if networks is None else networks}
            changed: list[ApiKey] = await self._keys.describe(unit, id=id, user=owner, **wanted)
            if not changed:
                raise UnknownKey
            unit.audit("api_keys.changed", target=id, detail={"networks": wanted["networks"]})
            self._revocations.key(unit, id)
        return changed[0]

    async def rotate(self, id: UUID, owner: UUID, overlap: timedelta, by: Principal) -> tuple[ApiKey, str]:
        """A new secret for a key, and as long an end as it had at first; the old one works until the overlap is over.

        A secret that was left over from an earlier rotation ends at once.

        Raises:
            UnknownKey: it is not there, not the owner's, or revoked.
            KeyReachesFurther: it may do what who asks may not.
            SecondFactorRequired: it may do what who asks may do only after a second factor.
            StaleVersion: somebody else rotated it just now.
        """
        now = self._clock.now()
        made: NewApiKey = new_api_key(id)
        async with self._database.unit(by) as unit:
            key = await self._keys.by_id.maybe(unit, id=id, user=owner)
            if key is None:
                raise UnknownKey
            await self._refuse_beyond(key, by)
            ends = _renewed(key, now)
            until = min(now + overlap, key.expires_at) if key.expires_at else now + overlap
            rotated = await self._keys.rotate(
                unit, id=id, user=owner, before=key.digest, digest=made.digest, now=now, expires_at=ends, until=until
            )
            if not rotated:
                raise StaleVersion
            unit.audit("api_keys.rotated", target=id, detail={"overlap_until": until.isoformat()})
            self._revocations.key(unit, id)
        return rotated[0], made.text

    async def revoke(self, id: UUID, owner: UUID, by: Principal) -> None:
        """End a key, what is left over from a rotation included; refused on every process within a second.

        Raises:
            UnknownKey: it is not there, not the owner's, or revoked already.
        """
        async with self._database.unit(by) as unit:
            if not await self._keys.revoke(unit, id=id, user=owner, now=self._clock.now()):
                raise UnknownKey
            unit.audit("api_keys.revoked", target=id, detail={"owner": str(owner)})
            self._revocations.key(unit, id)

    async def _refuse_beyond(self, key: ApiKey, by: Principal) -> None:
        """Whoever gets the new secret can do what the key can: nobody gets one that reaches further than they do."""
        whole, own = await self._held(key.user_id, by)
        missing = whole & self._permissions.grants_named(key.scopes) & ~own.grants
        if missing:
            raise SecondFactorRequired if not missing & ~own.locked else KeyReachesFurther

    async def _held(self, owner: UUID, by: Principal) -> tuple[int, Held]:
        """What the owner's keys may do at most, and what keys may do of what who asks holds."""
        holding = await self._access.holding_of(owner)
        whole = self._permissions.held(holding, Method.API_KEY, FACTORS).grants
        asking = holding if by.id == owner else await self._access.holding_of(by.id)
        return whole, self._permissions.held(asking, Method.API_KEY, by.factors)


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


def _new(made: NewApiKey, owner: UUID, wish: KeyWish, scopes: tuple[str, ...], now: datetime) -> ApiKey:
    return ApiKey(
        id=made.id,
        user_id=owner,
        name=wish.name,
        prefix=made.prefix,
        digest=made.digest,
        scopes=scopes,
        created_at=now,
        expires_at=None if wish.days is None else now + timedelta(days=wish.days),
        revoked_at=None,
        used_at=None,
        networks=wish.networks,
    )


def _renewed(key: ApiKey, now: datetime) -> datetime | None:
    """The end of a key that is rotated now: after as long a time as it had."""
    return None if key.expires_at is None else now + (key.expires_at - (key.rotated_at or key.created_at))
