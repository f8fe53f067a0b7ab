"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from fortress.domains.identity.repository.accounts import Credentials, UserRepository
from fortress.domains.identity.repository.keys import ApiKeyRepository, KeyState
from fortress.domains.identity.repository.providers import MOST_IDENTITIES, IdentityRepository, ProviderFlowRepository
from fortress.domains.identity.repository.sessions import LivingSession, SessionRepository, SessionState

__all__ = [
    "MOST_IDENTITIES",
    "ApiKeyRepository",
    "Credentials",
    "IdentityRepository",
    "KeyState",
    "LivingSession",
    "ProviderFlowRepository",
    "SessionRepository",
    "SessionState",
    "UserRepository",
]
