"""Passkeys of one's own."""

from __future__ import annotations

from uuid import UUID

from fortress.data import Page
from fortress.domains.identity.contract import LastWayIn, PasskeysUnavailable, PasskeyTaken, TooManyPasskeys, UnknownPasskey
from fortress.domains.identity.policy import ACCOUNT_FACTORS
from fortress.domains.identity.rest.credentials import MAX_BODY, NewPasskey
from fortress.domains.identity.rest.inputs import Line
from fortress.domains.identity.service.passkey_views import NewPasskeyView, PasskeyView, new_passkey_view, passkey_view
from fortress.domains.identity.service.passkeys import PasskeyService
from fortress.domains.identity.service.questions import PasskeyQuestion
from fortress.errors import StaleVersion
from fortress.http import Created, Input, delete, get, minutes, patch, per_hour, per_minute, post, strict
from fortress.security import Principal


class AddPasskey(Input):
    """What the browser made of the options, and what to call it."""

    name: Line
    credential: NewPasskey


class RenamePasskey(Input):
    """What to call it from now on."""

    name: Line


@post(
    "/users/me/passkeys/options",
    allow=ACCOUNT_FACTORS,
    limit=strict(per_hour(60)),
    fresh=minutes(15),
    errors=[TooManyPasskeys, PasskeysUnavailable],
)
async def begin_passkey(passkeys: PasskeyService, principal: Principal) -> PasskeyQuestion:
    """Get the options for a new passkey, as `navigator.credentials.create` takes them."""
    return await passkeys.question(principal)


@post(
    "/users/me/passkeys",
    allow=ACCOUNT_FACTORS,
    limit=strict(per_hour(60)),
    fresh=minutes(15),
    max_body=MAX_BODY,
    errors=[PasskeyTaken, TooManyPasskeys, PasskeysUnavailable],
)
async def add_passkey(data: AddPasskey, passkeys: PasskeyService, principal: Principal) -> Created[NewPasskeyView]:
    """Add a passkey; with the first second factor come recovery codes."""
    passkey, codes = await passkeys.add(data.name, data.credential.as_json(), principal)
    return Created(new_passkey_view(passkey, codes), at=f"/users/me/passkeys/{passkey.id}")


@get("/users/me/passkeys", allow=ACCOUNT_FACTORS, limit=per_minute(300))
async def list_passkeys(passkeys: PasskeyService, principal: Principal) -> Page[PasskeyView]:
    """List your passkeys; there are at most 20."""
    return Page([passkey_view(one) for one in await passkeys.all_of(principal)], None)


@get("/users/me/passkeys/{passkey_id:uuid}", allow=ACCOUNT_FACTORS, limit=per_minute(300), errors=[UnknownPasskey])
async def read_passkey(passkey_id: UUID, passkeys: PasskeyService, principal: Principal) -> PasskeyView:
    """Read one of your passkeys."""
    return passkey_view(await passkeys.read(passkey_id, principal))


@patch(
    "/users/me/passkeys/{passkey_id:uuid}",
    allow=ACCOUNT_FACTORS,
    limit=per_minute(60),
    errors=[UnknownPasskey, StaleVersion],
)
async def rename_passkey(passkey_id: UUID, data: RenamePasskey, passkeys: PasskeyService, principal: Principal) -> PasskeyView:
    """Rename a passkey."""
    return passkey_view(await passkeys.rename(passkey_id, data.name, principal))


@delete(
    "/users/me/passkeys/{passkey_id:uuid}",
    allow=ACCOUNT_FACTORS,
    limit=strict(per_hour(60)),
    fresh=minutes(5),
    factor=2,
    errors=[UnknownPasskey, LastWayIn],
)
async def remove_passkey(passkey_id: UUID, passkeys: PasskeyService, principal: Principal) -> None:
    """Remove a passkey; your other sessions end."""
    await passkeys.remove(passkey_id, principal)
