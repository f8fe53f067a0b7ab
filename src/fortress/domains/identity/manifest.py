"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from typing import Final

from fortress.domain import Domain, Upkeep, migrations_beside
from fortress.domains.identity.contract import People
from fortress.domains.identity.events import PasswordChanged, SessionStolen, UserDisabled, UserEnabled, UserErased, UserSignedUp
from fortress.domains.identity.models import ApiKey, Session, User
from fortress.domains.identity.policy import (
    ACCOUNT_ERASE,
    ACCOUNT_EXPORT,
    ACCOUNT_KEYS,
    ACCOUNT_PASSWORD,
    ACCOUNT_READ,
    ACCOUNT_SESSIONS,
    MEMBER,
    USERS_LIST,
    USERS_READ,
    USERS_WRITE,
)
from fortress.domains.identity.repository import ApiKeyRepository, SessionRepository, UserRepository
from fortress.domains.identity.rest import ROUTES
from fortress.domains.identity.rest.carrying import Carrying
from fortress.domains.identity.service import (
    AccountOperations,
    AccountService,
    Directory,
    KeyService,
    PersonService,
    RefreshService,
    Revocations,
    SessionService,
    SessionStarter,
    SignInService,
)

_HOUR: Final = 3600.0


async def forget_ended_sessions(sessions: SessionService) -> None:
    """What ended a month ago concerns nobody any more."""
    await sessions.forget_ended()


identity = Domain(
    name="identity",
    door=People,
    services=[
        AccountService,
        AccountOperations,
        PersonService,
        SessionService,
        SessionStarter,
        SignInService,
        RefreshService,
        KeyService,
        Directory,
        Revocations,
        Carrying,
        UserRepository,
        SessionRepository,
        ApiKeyRepository,
    ],
    permissions=[
        ACCOUNT_READ,
        ACCOUNT_PASSWORD,
        ACCOUNT_SESSIONS,
        ACCOUNT_KEYS,
        ACCOUNT_EXPORT,
        ACCOUNT_ERASE,
        USERS_LIST,
        USERS_READ,
        USERS_WRITE,
    ],
    roles=[MEMBER],
    facts=[UserSignedUp, UserDisabled, UserEnabled, UserErased, PasswordChanged, SessionStolen],
    models=[User, Session, ApiKey],
    routes=ROUTES,
    migrations=migrations_beside(__name__),
    upkeep=[Upkeep("identity.forget_ended_sessions", _HOUR, forget_ended_sessions)],
)
