"""Why a sign-in with somebody else came to nothing: for the audit log, never with the provider's own words."""

from __future__ import annotations

from enum import StrEnum

from fortress.domains.identity.contract import ProviderNotTrusted


class Fault(StrEnum):
    """What was wrong with what a provider, or somebody in its name, said."""

    ADDRESS = "address"
    STATUS = "status"
    DOCUMENT = "document"
    REFUSED = "refused"
    ISSUER = "issuer"
    METADATA_ISSUER = "metadata_issuer"
    KEYS = "keys"
    SHAPE = "shape"
    HEADER = "header"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    AUDIENCE = "audience"
    AUTHORIZED_PARTY = "authorized_party"
    NONCE = "nonce"
    SUBJECT = "subject"
    EXPIRED = "expired"
    TOO_EARLY = "too_early"
    AGE = "age"
    TOKEN_TYPE = "token_type"  # noqa: S105 - a reason
    NO_ID_TOKEN = "no_id_token"  # noqa: S105 - a reason


class Untrusted(ProviderNotTrusted):
    """What came from the provider does not hold; `fault` says why to the audit log, and the answer does not."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault
