"""Proving who one is by more than a password: the second step of a sign-in, a passkey alone, and once more in a session."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from fortress.domains.identity.contract import InvalidPasskey, NoSecondFactor, PasskeysUnavailable, SecondStepFailed
from fortress.domains.identity.policy import ACCOUNT_SESSIONS
from fortress.domains.identity.rest.carrying import Carrier, Carrying, SignedIn
from fortress.domains.identity.rest.credentials import MAX_BODY, PasskeyAnswer
from fortress.domains.identity.rest.factors import Code
from fortress.domains.identity.rest.inputs import Presented
from fortress.domains.identity.rest.sessions import device_of
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.passkeys import PasskeySignIn
from fortress.domains.identity.service.questions import PasskeyQuestion
from fortress.domains.identity.service.reauthenticating import ReauthenticationService
from fortress.domains.identity.service.second_step import SecondStepService
from fortress.domains.identity.service.starting import Device
from fortress.http import PUBLIC, Input, Request, per_minute, post, strict
from fortress.http.csrf import CrossSite
from fortress.security import Principal
from fortress.security.proof import SecondFactorRequired

Token = Annotated[SecretStr, Field(min_length=1, max_length=100)]
ChallengeToken = Annotated[str, Field(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]{43}$")]
_AUTHORIZATION: Final = b"authorization"


class SecondStep(Input):
    """The token of the 403 `auth.mfa_required`, and a code of the app or a recovery code."""

    mfa_token: Token
    code: Code
    session: Carrier = "tokens"


class SecondStepQuestion(Input):
    """The token of the 403 `auth.mfa_required`."""

    mfa_token: Token


class SecondStepByPasskey(Input):
    """The token of the 403 `auth.mfa_required`, and what the browser made of the options."""

    mfa_token: Token
    challenge_token: ChallengeToken
    credential: PasskeyAnswer
    session: Carrier = "tokens"


class SignInByPasskey(Input):
    """What the browser made of the options."""

    challenge_token: ChallengeToken
    credential: PasskeyAnswer
    session: Carrier = "tokens"


class Reauthenticate(Input):
    """One proof: the password, a code, or a passkey's answer with its challenge. People with a second factor use that one."""

    password: Presented | None = None
    code: Code | None = None
    challenge_token: ChallengeToken | None = None
    credential: PasskeyAnswer | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = [self.password, self.code, self.credential]
        if sum(one is not None for one in given) != 1 or (self.credential is None) != (self.challenge_token is None):
            raise PydanticCustomError("one_proof", "Send one of password, code, or challenge_token with credential")
        return self


@post("/auth/mfa", allow=PUBLIC, limit=strict(per_minute(30)), errors=[SecondStepFailed, CrossSite])
async def take_second_step(data: SecondStep, second_step: SecondStepService, carrying: Carrying, request: Request) -> SignedIn:
    """Finish signing in with a code of your authenticator app, or a recovery code."""
    handover = carrying.to(request, data.session)
    return handover.of(await second_step.by_code(data.mfa_token.get_secret_value(), data.code.get_secret_value(), device_of(request)))


@post("/auth/mfa/passkey/options", allow=PUBLIC, limit=strict(per_minute(30)), errors=[SecondStepFailed, PasskeysUnavailable])
async def ask_second_step_passkey(data: SecondStepQuestion, second_step: SecondStepService) -> PasskeyQuestion:
    """Get the options for finishing with a passkey, as `navigator.credentials.get` takes them."""
    return await second_step.passkey_question(data.mfa_token.get_secret_value())


@post(
    "/auth/mfa/passkey",
    allow=PUBLIC,
    limit=strict(per_minute(30)),
    max_body=MAX_BODY,
    errors=[SecondStepFailed, PasskeysUnavailable, CrossSite],
)
async def take_second_step_by_passkey(
    data: SecondStepByPasskey, second_step: SecondStepService, carrying: Carrying, request: Request
) -> SignedIn:
    """Finish signing in with a passkey."""
    handover = carrying.to(request, data.session)
    token, credential = data.mfa_token.get_secret_value(), data.credential.as_json()
    return handover.of(await second_step.by_passkey(token, data.challenge_token, credential, device_of(request)))


@post("/auth/passkey/options", allow=PUBLIC, limit=strict(per_minute(30)), errors=[PasskeysUnavailable])
async def ask_passkey(signing_in: PasskeySignIn) -> PasskeyQuestion:
    """Get the options for signing in with a passkey, as `navigator.credentials.get` takes them."""
    return await signing_in.question()


@post(
    "/auth/passkey",
    allow=PUBLIC,
    limit=strict(per_minute(30)),
    max_body=MAX_BODY,
    errors=[InvalidPasskey, PasskeysUnavailable, CrossSite],
)
async def sign_in_by_passkey(data: SignInByPasskey, signing_in: PasskeySignIn, carrying: Carrying, request: Request) -> SignedIn:
    """Sign in with a passkey, which counts as two factors."""
    handover = carrying.to(request, data.session)
    return handover.of(await signing_in.sign_in(data.challenge_token, data.credential.as_json(), device_of(request)))


@post(
    "/auth/reauthenticate/passkey/options",
    allow=ACCOUNT_SESSIONS,
    limit=strict(per_minute(10)),
    errors=[NoSecondFactor, PasskeysUnavailable],
)
async def ask_reauthentication_passkey(proving: ReauthenticationService, principal: Principal) -> PasskeyQuestion:
    """Get the options for proving once more who you are with a passkey."""
    return await proving.passkey_question(principal)


@post(
    "/auth/reauthenticate",
    allow=ACCOUNT_SESSIONS,
    limit=strict(per_minute(10)),
    max_body=MAX_BODY,
    errors=[SecondFactorRequired, PasskeysUnavailable],
)
async def reauthenticate(
    data: Reauthenticate, proving: ReauthenticationService, carrying: Carrying, principal: Principal, request: Request
) -> SignedIn:
    """Prove once more who you are, for what asks for a fresh proof or a second factor.

    A new session takes the place of this one, whose tokens die; it comes as the one before did, in the body or in cookies.
    """
    handover = carrying.to(request, "tokens" if _AUTHORIZATION in request.head else "cookie")
    return handover.of(await _proved(data, proving, principal, device_of(request)))


async def _proved(data: Reauthenticate, proving: ReauthenticationService, principal: Principal, device: Device) -> TokenPair:
    if data.password is not None:
        return await proving.by_password(data.password.get_secret_value(), principal, device)
    if data.code is not None:
        return await proving.by_code(data.code.get_secret_value(), principal, device)
    if data.credential is None or data.challenge_token is None:
        raise AssertionError("the model asks for one proof")
    return await proving.by_passkey(data.challenge_token, data.credential.as_json(), principal, device)
