"""Second factors of one's own: an authenticator app and recovery codes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field, SecretStr

from fortress.domains.identity.contract import AuthenticatorExists, NoSecondFactor
from fortress.domains.identity.policy import ACCOUNT_FACTORS
from fortress.domains.identity.service.factors import Enrolment, FactorService, FactorState
from fortress.http import Input, delete, get, minutes, per_hour, per_minute, post, strict
from fortress.security import Principal

Code = Annotated[SecretStr, Field(min_length=6, max_length=64)]


class ConfirmMfa(Input):
    """A code that the app shows."""

    code: Code


class RecoveryCodesView(msgspec.Struct, frozen=True):
    """Codes that each stand in for a second factor once; never shown again."""

    recovery_codes: list[str]

    def __repr__(self) -> str:
        return "RecoveryCodesView(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


@get("/users/me/mfa", allow=ACCOUNT_FACTORS, limit=per_minute(300))
async def read_mfa(factors: FactorService, principal: Principal) -> FactorState:
    """See which second factors of yours are on."""
    return await factors.state(principal)


@post("/users/me/mfa", allow=ACCOUNT_FACTORS, limit=strict(per_hour(60)), fresh=minutes(15), errors=[AuthenticatorExists])
async def begin_mfa(factors: FactorService, principal: Principal) -> Enrolment:
    """Get the secret for an authenticator app; it is on once you confirm a code of it."""
    return await factors.enrol(principal)


@post("/users/me/mfa/confirm", allow=ACCOUNT_FACTORS, limit=strict(per_minute(10)), fresh=minutes(15))
async def confirm_mfa(data: ConfirmMfa, factors: FactorService, principal: Principal) -> RecoveryCodesView:
    """Turn the authenticator app on, and get your recovery codes, if you have none."""
    return RecoveryCodesView(await factors.confirm(data.code.get_secret_value(), principal))


@delete("/users/me/mfa", allow=ACCOUNT_FACTORS, limit=strict(per_hour(30)), fresh=minutes(5), factor=2, errors=[NoSecondFactor])
async def remove_mfa(factors: FactorService, principal: Principal) -> None:
    """Remove the authenticator app; your other sessions end."""
    await factors.remove(principal)


@post(
    "/users/me/mfa/recovery-codes",
    allow=ACCOUNT_FACTORS,
    limit=strict(per_hour(30)),
    fresh=minutes(5),
    factor=2,
    errors=[NoSecondFactor],
)
async def renew_recovery_codes(factors: FactorService, principal: Principal) -> RecoveryCodesView:
    """Get new recovery codes; the old ones are void."""
    return RecoveryCodesView(await factors.renew_recovery(principal))
