"""Service accounts, and the keys by which they act."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from fortress.clock import Clock
from fortress.data import Page, PageQuery
from fortress.domains.access.contract import NotHeld
from fortress.domains.identity.contract import (
    KeyReachesFurther,
    ServiceNameTaken,
    TooManyKeys,
    TooManyServices,
    UnknownKey,
    UnknownService,
)
from fortress.domains.identity.policy import SERVICES_READ, SERVICES_WRITE
from fortress.domains.identity.rest.inputs import Line
from fortress.domains.identity.rest.keys import ChangeKey, MakeKey, RotateKey
from fortress.domains.identity.service import KeyService, ServiceAccountService
from fortress.domains.identity.service.views import (
    NewKeyView,
    RoledServiceView,
    ServiceView,
    StatedKeyView,
    new_key_view,
    roled_service_view,
    service_view,
    shown,
    stated_key_view,
)
from fortress.errors import StaleVersion
from fortress.http import Created, Input, delete, get, minutes, patch, per_minute, post, strict
from fortress.security import Principal
from fortress.security.proof import SecondFactorRequired

_BEYOND = (KeyReachesFurther, SecondFactorRequired)


class MakeService(Input):
    """A service account to be made: what it is called, and the roles that it holds."""

    name: Line
    roles: Annotated[list[Annotated[str, Field(min_length=1, max_length=60)]], Field(max_length=20)] = []


class ChangeService(Input):
    """Another name, or its keys refused or taken again; what is left out stays."""

    name: Line | None = None
    disabled: bool | None = None


@post(
    "/service-accounts",
    allow=SERVICES_WRITE,
    limit=strict(per_minute(30)),
    errors=[NotHeld, ServiceNameTaken, TooManyServices],
    fresh=minutes(15),
)
async def make_service_account(data: MakeService, services: ServiceAccountService, principal: Principal) -> Created[RoledServiceView]:
    """Make a service account; its roles are none that you don't hold."""
    service, roles = await services.make(data.name, data.roles, principal)
    return Created(roled_service_view(service, roles), at=f"/service-accounts/{service.id}")


@get("/service-accounts", allow=SERVICES_READ, limit=per_minute(300))
async def list_service_accounts(query: PageQuery, services: ServiceAccountService, principal: Principal) -> Page[ServiceView]:
    """List the service accounts, newest first."""
    return shown(await services.recent(query, principal), service_view)


@get("/service-accounts/{service_id:uuid}", allow=SERVICES_READ, limit=per_minute(600), errors=[UnknownService])
async def read_service_account(service_id: UUID, services: ServiceAccountService) -> RoledServiceView:
    """Read a service account, with the roles that it holds."""
    return roled_service_view(*await services.read(service_id))


@patch(
    "/service-accounts/{service_id:uuid}",
    allow=SERVICES_WRITE,
    limit=per_minute(60),
    errors=[UnknownService, ServiceNameTaken, StaleVersion],
)
async def change_service_account(
    service_id: UUID, data: ChangeService, services: ServiceAccountService, principal: Principal
) -> ServiceView:
    """Rename a service account, or disable or enable it."""
    return service_view(await services.change(service_id, principal, name=data.name, disabled=data.disabled))


@delete("/service-accounts/{service_id:uuid}", allow=SERVICES_WRITE, limit=per_minute(60), errors=[UnknownService, StaleVersion])
async def remove_service_account(service_id: UUID, services: ServiceAccountService, principal: Principal) -> None:
    """Remove a service account; its keys end."""
    await services.remove(service_id, principal)


@post(
    "/service-accounts/{service_id:uuid}/keys",
    allow=SERVICES_WRITE,
    limit=strict(per_minute(30)),
    errors=[UnknownService, TooManyKeys],
    fresh=minutes(15),
)
async def make_key_of_service(
    service_id: UUID, data: MakeKey, services: ServiceAccountService, keys: KeyService, clock: Clock, principal: Principal
) -> Created[NewKeyView]:
    """Make a key of a service account; it is shown this once, and may do nothing that you may not."""
    await services.require(service_id)
    key, text = await keys.make(data.wish, service_id, principal)
    return Created(new_key_view(key, text, clock.now()), at=f"/service-accounts/{service_id}/keys/{key.id}")


@get("/service-accounts/{service_id:uuid}/keys", allow=SERVICES_READ, limit=per_minute(300), errors=[UnknownService])
async def list_keys_of_service(
    service_id: UUID, query: PageQuery, services: ServiceAccountService, keys: KeyService, clock: Clock, principal: Principal
) -> Page[StatedKeyView]:
    """List a service account's keys."""
    await services.require(service_id)
    now = clock.now()
    return shown(await keys.recent(query, service_id, principal), lambda key: stated_key_view(key, now))


@get(
    "/service-accounts/{service_id:uuid}/keys/{key_id:uuid}",
    allow=SERVICES_READ,
    limit=per_minute(600),
    errors=[UnknownService, UnknownKey],
)
async def read_key_of_service(
    service_id: UUID, key_id: UUID, services: ServiceAccountService, keys: KeyService, clock: Clock, principal: Principal
) -> StatedKeyView:
    """Read a key of a service account."""
    await services.require(service_id)
    return stated_key_view(await keys.read(key_id, service_id, principal), clock.now())


@patch(
    "/service-accounts/{service_id:uuid}/keys/{key_id:uuid}",
    allow=SERVICES_WRITE,
    limit=per_minute(60),
    errors=[UnknownService, UnknownKey],
    fresh=minutes(15),
)
async def change_key_of_service(
    service_id: UUID, key_id: UUID, data: ChangeKey, services: ServiceAccountService, keys: KeyService, clock: Clock, principal: Principal
) -> StatedKeyView:
    """Rename a service account's key, or change where it may be used from."""
    await services.require(service_id)
    networks = None if data.networks is None else tuple(dict.fromkeys(data.networks))
    return stated_key_view(await keys.change(key_id, service_id, principal, name=data.name, networks=networks), clock.now())


@post(
    "/service-accounts/{service_id:uuid}/keys/{key_id:uuid}/rotate",
    allow=SERVICES_WRITE,
    limit=strict(per_minute(30)),
    errors=[UnknownService, UnknownKey, *_BEYOND, StaleVersion],
    fresh=minutes(15),
)
async def rotate_key_of_service(
    service_id: UUID, key_id: UUID, data: RotateKey, services: ServiceAccountService, keys: KeyService, clock: Clock, principal: Principal
) -> NewKeyView:
    """Give a service account's key another secret, which is shown this once; the old one works until the overlap is over."""
    await services.require(service_id)
    key, text = await keys.rotate(key_id, service_id, data.overlap, principal)
    return new_key_view(key, text, clock.now())


@delete(
    "/service-accounts/{service_id:uuid}/keys/{key_id:uuid}",
    allow=SERVICES_WRITE,
    limit=per_minute(60),
    errors=[UnknownService, UnknownKey],
)
async def revoke_key_of_service(
    service_id: UUID, key_id: UUID, services: ServiceAccountService, keys: KeyService, principal: Principal
) -> None:
    """Revoke a service account's key."""
    await services.require(service_id)
    await keys.revoke(key_id, service_id, principal)
