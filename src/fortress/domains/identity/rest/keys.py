"""API keys."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from fortress.data import Page, PageQuery
from fortress.domains.identity.contract import TooManyKeys, UnknownKey
from fortress.domains.identity.policy import ACCOUNT_KEYS
from fortress.domains.identity.rest.inputs import Line
from fortress.domains.identity.service import KeyService
from fortress.domains.identity.service.views import KeyView, NewKeyView, key_view, new_key_view, shown
from fortress.http import Created, Input, delete, get, per_minute, post, strict
from fortress.security import Principal


class MakeKey(Input):
    """A key to be made: what it is for, what it may do, and for how many days (no number: until it is revoked)."""

    name: Line
    scopes: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Field(ge=1, le=3650)] | None = None


@post("/api-keys", allow=ACCOUNT_KEYS, limit=strict(per_minute(30)), errors=[TooManyKeys])
async def make_api_key(data: MakeKey, keys: KeyService, principal: Principal) -> Created[NewKeyView]:
    """Make an API key; it is shown this once."""
    key, text = await keys.make(data.name, data.scopes, data.expires_in_days, principal)
    return Created(new_key_view(key, text), at=f"/api-keys/{key.id}")


@get("/api-keys", allow=ACCOUNT_KEYS, limit=per_minute(300))
async def list_api_keys(query: PageQuery, keys: KeyService, principal: Principal) -> Page[KeyView]:
    """List your API keys."""
    return shown(await keys.recent(query, principal), key_view)


@get("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(600), errors=[UnknownKey])
async def read_api_key(key_id: UUID, keys: KeyService, principal: Principal) -> KeyView:
    """Read one of your API keys."""
    return key_view(await keys.read(key_id, principal))


@delete("/api-keys/{key_id:uuid}", allow=ACCOUNT_KEYS, limit=per_minute(60), errors=[UnknownKey])
async def revoke_api_key(key_id: UUID, keys: KeyService, principal: Principal) -> None:
    """Revoke an API key."""
    await keys.revoke(key_id, principal)
