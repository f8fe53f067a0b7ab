"""The tables. What is personal stands in the columns of `User` and in `Session.address` and `.agent`, and nowhere else."""

from fortress.domains.identity.models.accounts import User
from fortress.domains.identity.models.keys import ApiKey
from fortress.domains.identity.models.providers import FlowPurpose, Identity, ProviderFlow
from fortress.domains.identity.models.sessions import EndedBy, Session

__all__ = ["ApiKey", "EndedBy", "FlowPurpose", "Identity", "ProviderFlow", "Session", "User"]
