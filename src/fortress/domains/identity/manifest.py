"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from typing import Final

from fortress.domain import Domain, Upkeep, migrations_beside, templates_beside
from fortress.domains.identity.contract import People
from fortress.domains.identity.events import (
    EmailChanged,
    EmailVerified,
    IdentityLinked,
    IdentityUnlinked,
    NewDeviceSeen,
    PasswordChanged,
    SecondFactorAdded,
    SecondFactorRemoved,
    SessionStolen,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserSignedUp,
)
from fortress.domains.identity.models import (
    ApiKey,
    Authenticator,
    Challenge,
    EmailChange,
    Identity,
    KnownDevice,
    MailedToken,
    Passkey,
    ProviderFlow,
    RecoveryCode,
    ServiceAccount,
    Session,
    User,
)
from fortress.domains.identity.policy import (
    ACCOUNT_ERASE,
    ACCOUNT_EXPORT,
    ACCOUNT_FACTORS,
    ACCOUNT_IDENTITIES,
    ACCOUNT_KEYS,
    ACCOUNT_PASSWORD,
    ACCOUNT_READ,
    ACCOUNT_SESSIONS,
    ACCOUNT_WRITE,
    KEYS_MANAGE,
    MEMBER,
    SERVICES_READ,
    SERVICES_WRITE,
    USERS_LIST,
    USERS_READ,
    USERS_WRITE,
)
from fortress.domains.identity.repository import (
    AccountLock,
    ApiKeyRepository,
    AuthenticatorRepository,
    ChallengeRepository,
    ClaimRepository,
    DeviceRepository,
    EmailChangeRepository,
    IdentityRepository,
    MailedTokenRepository,
    PasskeyRepository,
    ProviderFlowRepository,
    RecoveryCodeRepository,
    ServiceAccountRepository,
    SessionRepository,
    UserRepository,
)
from fortress.domains.identity.rest import ROUTES
from fortress.domains.identity.rest.carrying import Carrying
from fortress.domains.identity.rest.flow_cookie import FlowCookie
from fortress.domains.identity.service import (
    AccountOperations,
    AccountService,
    Addresses,
    AskedAddresses,
    Assertions,
    Ceremonies,
    Challenges,
    Codes,
    Devices,
    Directory,
    EmailChangeService,
    EmailVerification,
    FactorKeeper,
    FactorRecords,
    FactorReset,
    FactorService,
    IdentityRecords,
    KeyService,
    MailedTokens,
    NewPasswords,
    PasskeyService,
    PasskeySignIn,
    PasswordGuesses,
    PersonService,
    ReauthenticationService,
    RecoveryService,
    RefreshService,
    Revocations,
    SecondStepService,
    ServiceAccountService,
    SessionService,
    SessionStarter,
    SignInService,
    Throttle,
    UsedCodes,
    WaysIn,
)
from fortress.domains.identity.service.email_changes import offer_address
from fortress.domains.identity.service.factor_letters import FACTOR_LETTERS
from fortress.domains.identity.service.letters import LETTERS
from fortress.domains.identity.service.providers import ConfiguredProviders, IdentityService, ProviderFlows, ProviderSignIn
from fortress.domains.identity.service.recovery import send_reset
from fortress.domains.identity.service.verification import send_verification
from fortress.domains.notifications.contract import AddressBook

_HOUR: Final = 3600.0


async def forget_ended_sessions(sessions: SessionService) -> None:
    """What ended a month ago concerns nobody any more."""
    await sessions.forget_ended()


async def forget_unfinished_flows(flows: ProviderFlows) -> None:
    """Nobody comes back from a provider after so long."""
    await flows.forget_old()


async def forget_old_challenges(challenges: Challenges) -> None:
    """Nobody can answer them any more."""
    await challenges.forget_old()


async def forget_expired_tokens(tokens: MailedTokens) -> None:
    """What nobody proved in time is worth nothing."""
    await tokens.forget_expired()


async def forget_unseen_devices(devices: Devices) -> None:
    """After a year a device is a new one again."""
    await devices.forget_unseen()


identity = Domain(
    name="identity",
    door=People,
    services=[
        AccountService,
        AccountOperations,
        Addresses,
        AskedAddresses,
        PersonService,
        IdentityRecords,
        SessionService,
        SessionStarter,
        SignInService,
        RefreshService,
        KeyService,
        ServiceAccountService,
        Directory,
        Revocations,
        Carrying,
        FlowCookie,
        ConfiguredProviders,
        ProviderFlows,
        ProviderSignIn,
        IdentityService,
        UserRepository,
        SessionRepository,
        ApiKeyRepository,
        ServiceAccountRepository,
        IdentityRepository,
        ProviderFlowRepository,
        AccountLock,
        AuthenticatorRepository,
        RecoveryCodeRepository,
        PasskeyRepository,
        ChallengeRepository,
        ClaimRepository,
        WaysIn,
        NewPasswords,
        Devices,
        Throttle,
        MailedTokens,
        EmailVerification,
        RecoveryService,
        EmailChangeService,
        MailedTokenRepository,
        EmailChangeRepository,
        DeviceRepository,
        Assertions,
        Ceremonies,
        Challenges,
        Codes,
        FactorKeeper,
        FactorRecords,
        FactorReset,
        FactorService,
        PasskeyService,
        PasskeySignIn,
        PasswordGuesses,
        ReauthenticationService,
        SecondStepService,
        UsedCodes,
    ],
    permissions=[
        ACCOUNT_READ,
        ACCOUNT_WRITE,
        ACCOUNT_PASSWORD,
        ACCOUNT_SESSIONS,
        ACCOUNT_KEYS,
        ACCOUNT_EXPORT,
        ACCOUNT_ERASE,
        ACCOUNT_IDENTITIES,
        ACCOUNT_FACTORS,
        USERS_LIST,
        USERS_READ,
        USERS_WRITE,
        KEYS_MANAGE,
        SERVICES_READ,
        SERVICES_WRITE,
    ],
    roles=[MEMBER],
    facts=[
        UserSignedUp,
        UserDisabled,
        UserEnabled,
        UserErased,
        PasswordChanged,
        SessionStolen,
        EmailVerified,
        EmailChanged,
        NewDeviceSeen,
        IdentityLinked,
        IdentityUnlinked,
        SecondFactorAdded,
        SecondFactorRemoved,
    ],
    models=[
        User,
        Session,
        ApiKey,
        ServiceAccount,
        Identity,
        ProviderFlow,
        Authenticator,
        RecoveryCode,
        Passkey,
        Challenge,
        MailedToken,
        EmailChange,
        KnownDevice,
    ],
    routes=ROUTES,
    handlers=[send_reset, send_verification, offer_address],
    migrations=migrations_beside(__name__),
    personal=IdentityRecords,
    ports=[AddressBook],
    notifications=[*LETTERS, *FACTOR_LETTERS],
    templates=templates_beside(__name__),
    upkeep=[
        Upkeep("identity.forget_ended_sessions", _HOUR, forget_ended_sessions),
        Upkeep("identity.forget_unfinished_flows", _HOUR, forget_unfinished_flows),
        Upkeep("identity.forget_expired_tokens", _HOUR, forget_expired_tokens),
        Upkeep("identity.forget_unseen_devices", _HOUR, forget_unseen_devices),
        Upkeep("identity.forget_old_challenges", _HOUR, forget_old_challenges),
    ],
)
