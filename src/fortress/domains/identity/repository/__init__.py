"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from fortress.domains.identity.repository.accounts import Credentials, UserRepository
from fortress.domains.identity.repository.challenges import ChallengeRepository
from fortress.domains.identity.repository.claims import Claimed, ClaimRepository
from fortress.domains.identity.repository.devices import MOST_DEVICES, DeviceMarks, DeviceRepository
from fortress.domains.identity.repository.factors import Account, AccountLock, AuthenticatorRepository, RecoveryCodeRepository, Standing
from fortress.domains.identity.repository.keys import ApiKeyRepository, KeyState
from fortress.domains.identity.repository.mailed import EmailChangeRepository, MailedTokenRepository
from fortress.domains.identity.repository.passkeys import MOST_PASSKEYS, PasskeyRepository
from fortress.domains.identity.repository.providers import MOST_IDENTITIES, IdentityRepository, ProviderFlowRepository
from fortress.domains.identity.repository.services import ServiceAccountRepository
from fortress.domains.identity.repository.sessions import LivingSession, SessionRepository, SessionState

__all__ = [
    "MOST_DEVICES",
    "MOST_IDENTITIES",
    "MOST_PASSKEYS",
    "Account",
    "AccountLock",
    "ApiKeyRepository",
    "AuthenticatorRepository",
    "ChallengeRepository",
    "ClaimRepository",
    "Claimed",
    "Credentials",
    "DeviceMarks",
    "DeviceRepository",
    "EmailChangeRepository",
    "IdentityRepository",
    "KeyState",
    "LivingSession",
    "MailedTokenRepository",
    "PasskeyRepository",
    "ProviderFlowRepository",
    "RecoveryCodeRepository",
    "ServiceAccountRepository",
    "SessionRepository",
    "SessionState",
    "Standing",
    "UserRepository",
]
