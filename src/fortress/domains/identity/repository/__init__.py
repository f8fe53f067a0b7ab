"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from fortress.domains.identity.repository.accounts import UserRepository
from fortress.domains.identity.repository.keys import ApiKeyRepository, KeyState
from fortress.domains.identity.repository.sessions import LivingSession, SessionRepository, SessionState

__all__ = ["ApiKeyRepository", "KeyState", "LivingSession", "SessionRepository", "SessionState", "UserRepository"]
