"""API keys: one's own, and everyone's for who may."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from fortress.clock import Clock
from fortress.data import Page, PageQuery
from fortress.domains.identity.contract import KeyReachesFurther, TooManyKeys, UnknownKey, UnknownUser
from fortress.domains.identity.policy import ACCOUNT_KEYS, KEYS_MANAGE
from fortress.domains.identity.rest.inputs import Line
from fortress.domains.identity.service import AccountService, KeyService
from fortress.domains.identity.service.keys import KeyWish
from fortress.domains.identity.service.views import NewKeyView, StatedKeyView, new_key_view, shown, stated_key_view
from fortress.errors import StaleVersion
from fortress.http import Created, Input, delete, get, minutes, patch, per_minute, post, strict
from fortress.security import Principal
from fortress.security.proof import SecondFactorRequired

MOST_NETWORKS: Final = 20
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168


def _network(value: str) -> str:
    """The network in its one spelling; a single address is a network of one."""
    try:
        network = ip_network(value)
    except ValueError:
        raise PydanticCustomError("network", "This is not a network, such as 203.0.113.0/24") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise PydanticCustomError("network", "Say an IPv4 network as such")
    return str(network)


Networks = Annotated[list[Annotated[str, Field(min_length=2, max_length=49), AfterValidator(_network)]], Field(max_length=MOST_NETWORKS)]


class MakeKey(Input):
    """A key to be made: what it is for, what it may do, for how many days (no number: until it is revoked), and where from."""

    name: Line
    scopes: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    networks: Networks = []

    @property
    def wish(self) -> KeyWish:
        """What the service makes of it."""
        return KeyWish(self.name, self.scopes, self.expires_in_days, tuple(dict.fromkeys(self.networks)))


class ChangeKey(Input):
    """Another name, or other networks (an empty list: anywhere); what is left out stays."""

    name: Line | None = None
    networks: Networks | None = None


class RotateKey(Input):
    """For how many hours the old secret goes on working."""

    overlap_hours: Annotated[int, Field(ge=0, le=WEEK_HOURS)] = DAY_HOURS

    @property
    def overlap(self) -> timedelta:
        return timedelta(hours=self.overlap_hours)


@post("/api-keys", allow=ACCOUNT_KEYS, limit=strict(per_minute(30)), errors=[TooManyKeys], fresh=minutes(15))
async def make_api_key(data: MakeKey, keys: KeyService, clock: Clock, principal: Principal) -> Created[NewKeyView]:
    """Make an API key; it is shown this once."""
    key, text = await keys.make(data.wish, principal.id, principal)
    return Created(new_key_view(key, text, clock.now()), at=f"/api-keys/{key.id}")


@get("/api-keys", allow=ACCOUNT_KEYS, limit=per_minute(300))
async def list_api_keys(query: PageQuery, keys: KeyService, clock: Clock, principal: Principal) -> Page[StatedKeyView]:
    """List your API keys."""
    now = clock.now()
    return shown(await keys.recent(query, principal.id, principal), lambda key: stated_key_view(key, now))


@get("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(600), errors=[UnknownKey])
async def read_api_key(key_id: UUID, keys: KeyService, clock: Clock, principal: Principal) -> StatedKeyView:
    """Read one of your API keys."""
    return stated_key_view(await keys.read(key_id, principal.id, principal), clock.now())


@patch("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(60), errors=[UnknownKey], fresh=minutes(15))
async def change_api_key(key_id: UUID, data: ChangeKey, keys: KeyService, clock: Clock, principal: Principal) -> StatedKeyView:
    """Rename an API key, or change where it may be used from."""
    networks = None if data.networks is None else tuple(dict.fromkeys(data.networks))
    return stated_key_view(await keys.change(key_id, principal.id, principal, name=data.name, networks=networks), clock.now())


@post(
    "/api-keys/{key_id:uuid}/rotate",
    allow=ACCOUNT_KEYS,
    limit=strict(per_minute(30)),
    errors=[UnknownKey, KeyReachesFurther, SecondFactorRequired, StaleVersion],
    fresh=minutes(15),
)
async def rotate_api_key(key_id: UUID, data: RotateKey, keys: KeyService, clock: Clock, principal: Principal) -> NewKeyView:
    """Give an API key another secret, which is shown this once; the old one works until the overlap is over."""
    key, text = await keys.rotate(key_id, principal.id, data.overlap, principal)
    return new_key_view(key, text, clock.now())


@delete("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(60), errors=[UnknownKey])
async def revoke_api_key(key_id: UUID, keys: KeyService, principal: Principal) -> None:
    """Revoke an API key."""
    await keys.revoke(key_id, principal.id, principal)


@get("/users/{user_id:uuid}/api-keys", allow=KEYS_MANAGE, limit=per_minute(300), errors=[UnknownUser])
async def list_api_keys_of_user(
    user_id: UUID, query: PageQuery, accounts: AccountService, keys: KeyService, clock: Clock, principal: Principal
) -> Page[StatedKeyView]:
    """List somebody's API keys."""
    await accounts.read(user_id, principal)
    now = clock.now()
    return shown(await keys.recent(query, user_id, principal), lambda key: stated_key_view(key, now))


@delete("/users/{user_id:uuid}/api-keys/{key_id:uuid}", allow=KEYS_MANAGE, limit=per_minute(60), errors=[UnknownKey])
async def revoke_api_key_of_user(user_id: UUID, key_id: UUID, keys: KeyService, principal: Principal) -> None:
    """Revoke somebody's API key."""
    await keys.revoke(key_id, user_id, principal)
