"""The door. Other domains call this and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from fortress.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable

_CHALLENGE = {"www-authenticate": "Bearer"}


class UserStatus(StrEnum):
    """Whether an account can be used."""

    ACTIVE = "active"
    DISABLED = "disabled"


class Person(msgspec.Struct, frozen=True):
    """Somebody with an account, as other domains may know them.

    Attributes:
        active: False while their account is disabled.
    """

    id: UUID
    email: str
    name: str | None
    active: bool

    def __repr__(self) -> str:
        return f"<Person id={self.id}>"


class People(Protocol):
    """Who there is."""

    async def person(self, id: UUID) -> Person | None:
        """The person of this id, disabled ones included."""
        ...


class InvalidCredentials(Unauthenticated):
    """E-mail address or password is wrong, or the account can't be used: the answer does not say which."""

    code, title = "auth.invalid_credentials", "E-mail address or password is wrong"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class InvalidRefreshToken(Unauthenticated):
    """Unknown, used, expired or revoked: the answer does not say which. Sign in again."""

    code, title = "auth.invalid_refresh_token", "The refresh token is not valid"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class EmailUnverified(Forbidden):
    """The password is right, and the address is not proved yet: POST /auth/email/resend sends another mail."""

    code, title = "auth.email_unverified", "The e-mail address is not proved yet"


class EmailTaken(Conflict):
    """The address belongs to an account. Never leaves the domain: sign-up answers the same either way."""

    code, title = "users.email_taken", "This e-mail address is in use"


class UnknownUser(NotFound):
    """There is nobody of this id or address."""

    code, title = "users.not_found", "There is no such user"


class UnknownSession(NotFound):
    """There is no such session of yours."""

    code, title = "sessions.not_found", "There is no such session"


class UnknownKey(NotFound):
    """There is no such key of yours."""

    code, title = "api_keys.not_found", "There is no such API key"


class TooManyKeys(Conflict):
    """Revoke one that is not needed any more first."""

    code, title = "api_keys.too_many", "There are too many API keys"


class KeyReachesFurther(Forbidden):
    """Whoever gets a key's secret can do what it can; so nobody gets one that may do more than they may."""

    code, title = "api_keys.reaches_further", "This API key reaches further than you do"


class UnknownService(NotFound):
    """There is no such service account."""

    code, title = "services.not_found", "There is no such service account"


class ServiceNameTaken(Conflict):
    """A service account of this name is there already."""

    code, title = "services.exists", "There is a service account of this name already"


class TooManyServices(Conflict):
    """Remove one that is not needed any more first."""

    code, title = "services.too_many", "There are too many service accounts"


class NotYourself(Forbidden):
    """An administrator who disables themself can't undo it."""

    code, title = "users.not_yourself", "You can't disable yourself"


class UnknownProvider(NotFound):
    """Nobody can sign in with a provider of this name (GET /auth/providers lists them)."""

    code, title = "providers.not_found", "There is no such sign-in provider"


class ProviderFlowLost(Unauthenticated):
    """Begun in another browser, too long ago, finished already, or never: the answer does not say which. Begin again."""

    code, title = "auth.provider_flow_lost", "This sign-in was not begun here, or is over"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class ProviderDeclined(Unauthenticated):
    """The provider, or the person there, said no."""

    code, title = "auth.provider_declined", "The provider did not sign you in"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class ProviderNotTrusted(Unauthenticated):
    """What the provider said, or somebody in its name, does not hold; the audit log knows what of it."""

    code, title = "auth.provider_not_trusted", "The provider's answer can't be trusted"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class ProviderUnavailable(Unavailable):
    """The provider does not answer, or not in time. Try again later, or sign in by other means."""

    code, title = "auth.provider_unavailable", "The provider does not answer"


class NoFreshProof(Invalid):
    """This provider can't be asked to have people prove themselves anew."""

    code, title = "auth.provider_not_fresh", "This provider can't ask you anew who you are"

    def __init__(self) -> None:
        super().__init__([FieldError("/fresh", "This provider can't ask anew", "provider.not_fresh")])


class AccountExists(Conflict):
    """The address has an account: sign in to it, then link this provider (POST /users/me/providers/{name}/start)."""

    code, title = "auth.account_exists", "There is an account of this address; sign in to it and link the provider there"


class EmailNotProved(Forbidden):
    """The provider does not say that the e-mail address is theirs, so no account can be made of it."""

    code, title = "auth.provider_email_unverified", "The provider does not vouch for an e-mail address of yours"


class AccountUnusable(Forbidden):
    """The account of this identity is disabled."""

    code, title = "auth.account_unusable", "This account can't be used"


class IdentityTaken(Conflict):
    """The identity belongs to an account already: this one or another."""

    code, title = "identities.taken", "This identity is linked to an account already"


class TooManyIdentities(Conflict):
    """Unlink one that is not needed any more first."""

    code, title = "identities.too_many", "There are too many identities"


class UnknownIdentity(NotFound):
    """There is no such identity of yours."""

    code, title = "identities.not_found", "There is no such identity"


class MfaRequired(Forbidden):
    """The first proof was right, and a second is asked for: POST /auth/mfa with `mfa_token` and a code, or a passkey.

    Args:
        token: good for five minutes, five answers and one session; a secret.
        methods: what may be answered with.
    """

    code, title = "auth.mfa_required", "A second step is needed to sign in"

    def __init__(self, token: str, methods: Sequence[str]) -> None:
        super().__init__(data={"mfa_token": token, "methods": list(methods)})


class SecondStepFailed(Unauthenticated):
    """Token, code or passkey is wrong, used, too old or not yours: the answer does not say which. Sign in again."""

    code, title = "auth.second_step_failed", "The second step was not right"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class InvalidPasskey(Unauthenticated):
    """The passkey, its answer or its account is not good for signing in: the answer does not say which."""

    code, title = "auth.invalid_passkey", "This passkey did not sign you in"

    def __init__(self) -> None:
        super().__init__(headers=_CHALLENGE)


class PasskeysUnavailable(Unavailable):
    """Passkeys are not installed here; the log says what to do."""

    code, title = "passkeys.unavailable", "Passkeys can't be used here"


class PasskeyTaken(Conflict):
    """This passkey is registered already."""

    code, title = "passkeys.taken", "This passkey is registered already"


class TooManyPasskeys(Conflict):
    """Remove one that is not needed any more first."""

    code, title = "passkeys.too_many", "There are too many passkeys"


class UnknownPasskey(NotFound):
    """There is no such passkey of yours."""

    code, title = "passkeys.not_found", "There is no such passkey"


class AuthenticatorExists(Conflict):
    """You have an authenticator app; remove it first (DELETE /users/me/mfa)."""

    code, title = "mfa.exists", "There is an authenticator app already"


class NoSecondFactor(NotFound):
    """There is no second factor of yours that this could be done to."""

    code, title = "mfa.not_found", "There is no such second factor"


class LastWayIn(Conflict):
    """Without it you could not sign in any more: set a password, link an identity or add a passkey first."""

    code, title = "users.last_way_in", "This is your last way to sign in"
