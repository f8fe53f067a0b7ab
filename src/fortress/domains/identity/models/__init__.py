"""The tables. What is personal stands in the columns of `User` and in `Session.address` and `.agent`, and nowhere else."""

from fortress.domains.identity.models.accounts import User
from fortress.domains.identity.models.challenges import Challenge, Purpose
from fortress.domains.identity.models.devices import KnownDevice
from fortress.domains.identity.models.factors import Authenticator, RecoveryCode
from fortress.domains.identity.models.keys import ApiKey
from fortress.domains.identity.models.mailed import EmailChange, MailedPurpose, MailedToken
from fortress.domains.identity.models.passkeys import Passkey
from fortress.domains.identity.models.providers import FlowPurpose, Identity, ProviderFlow
from fortress.domains.identity.models.services import ServiceAccount
from fortress.domains.identity.models.sessions import EndedBy, Session

__all__ = [
    "ApiKey",
    "Authenticator",
    "Challenge",
    "EmailChange",
    "EndedBy",
    "FlowPurpose",
    "Identity",
    "KnownDevice",
    "MailedPurpose",
    "MailedToken",
    "Passkey",
    "ProviderFlow",
    "Purpose",
    "RecoveryCode",
    "ServiceAccount",
    "Session",
    "User",
]
