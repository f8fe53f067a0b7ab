"""The use cases of identity. One method, one action, one transaction."""

from fortress.domains.identity.service.accounts import AccountService
from fortress.domains.identity.service.addresses import Addresses
from fortress.domains.identity.service.asking import AskedAddresses
from fortress.domains.identity.service.assertions import Assertions
from fortress.domains.identity.service.ceremonies import Ceremonies
from fortress.domains.identity.service.challenges import Challenges
from fortress.domains.identity.service.codes import Codes
from fortress.domains.identity.service.devices import Devices
from fortress.domains.identity.service.directory import Directory
from fortress.domains.identity.service.email_changes import EmailChangeService
from fortress.domains.identity.service.factor_records import FactorRecords
from fortress.domains.identity.service.factor_reset import FactorReset
from fortress.domains.identity.service.factors import FactorKeeper, FactorService
from fortress.domains.identity.service.guesses import PasswordGuesses
from fortress.domains.identity.service.keys import KeyService
from fortress.domains.identity.service.mailed import MailedTokens
from fortress.domains.identity.service.new_passwords import NewPasswords
from fortress.domains.identity.service.operating import AccountOperations
from fortress.domains.identity.service.passkeys import PasskeyService, PasskeySignIn
from fortress.domains.identity.service.persons import PersonService
from fortress.domains.identity.service.reauthenticating import ReauthenticationService
from fortress.domains.identity.service.records import IdentityRecords
from fortress.domains.identity.service.recovery import RecoveryService
from fortress.domains.identity.service.refreshing import RefreshService
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.second_step import SecondStepService, UsedCodes
from fortress.domains.identity.service.service_accounts import ServiceAccountService
from fortress.domains.identity.service.sessions import SessionService
from fortress.domains.identity.service.signing_in import SignInService
from fortress.domains.identity.service.starting import SessionStarter
from fortress.domains.identity.service.throttle import Throttle
from fortress.domains.identity.service.verification import EmailVerification
from fortress.domains.identity.service.ways_in import WaysIn

__all__ = [
    "AccountOperations",
    "AccountService",
    "Addresses",
    "AskedAddresses",
    "Assertions",
    "Ceremonies",
    "Challenges",
    "Codes",
    "Devices",
    "Directory",
    "EmailChangeService",
    "EmailVerification",
    "FactorKeeper",
    "FactorRecords",
    "FactorReset",
    "FactorService",
    "IdentityRecords",
    "KeyService",
    "MailedTokens",
    "NewPasswords",
    "PasskeyService",
    "PasskeySignIn",
    "PasswordGuesses",
    "PersonService",
    "ReauthenticationService",
    "RecoveryService",
    "RefreshService",
    "Revocations",
    "SecondStepService",
    "ServiceAccountService",
    "SessionService",
    "SessionStarter",
    "SignInService",
    "Throttle",
    "UsedCodes",
    "WaysIn",
]
