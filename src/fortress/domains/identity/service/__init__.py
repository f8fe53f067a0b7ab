"""The use cases of identity. One method, one action, one transaction."""

from fortress.domains.identity.service.accounts import AccountService
from fortress.domains.identity.service.directory import Directory
from fortress.domains.identity.service.keys import KeyService
from fortress.domains.identity.service.operating import AccountOperations
from fortress.domains.identity.service.persons import PersonService
from fortress.domains.identity.service.records import IdentityRecords
from fortress.domains.identity.service.refreshing import RefreshService
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.service_accounts import ServiceAccountService
from fortress.domains.identity.service.sessions import SessionService
from fortress.domains.identity.service.signing_in import SignInService
from fortress.domains.identity.service.starting import SessionStarter

__all__ = [
    "AccountOperations",
    "AccountService",
    "Directory",
    "IdentityRecords",
    "KeyService",
    "PersonService",
    "RefreshService",
    "Revocations",
    "ServiceAccountService",
    "SessionService",
    "SessionStarter",
    "SignInService",
]
