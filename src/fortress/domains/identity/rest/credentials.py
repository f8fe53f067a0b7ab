"""What browsers make of passkeys, as JSON (WebAuthn Level 3 §5.1): the members that the standard names, and no other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from fortress.http import Input

MAX_BODY = 65_536
Base64Url = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[A-Za-z0-9_-]+$")]
LongBase64Url = Annotated[str, Field(min_length=1, max_length=32_768, pattern=r"^[A-Za-z0-9_-]+$")]
CredentialId = Annotated[str, Field(min_length=1, max_length=1364, pattern=r"^[A-Za-z0-9_-]+$")]
Short = Annotated[str, Field(min_length=1, max_length=40)]
Extensions = Annotated[dict[Short, JsonValue], Field(max_length=20)]


class _Credential(Input):
    model_config = ConfigDict(serialize_by_alias=True)

    id: CredentialId
    raw_id: Annotated[CredentialId, Field(alias="rawId")]
    type: Literal["public-key"]
    attachment: Annotated[Literal["platform", "cross-platform"] | None, Field(alias="authenticatorAttachment")] = None
    extensions: Annotated[Extensions, Field(alias="clientExtensionResults")] = {}

    def as_json(self) -> dict[str, Any]:
        """As the browser gave it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Attested(Input):
    """What a device says of a credential that it has just made."""

    client_data: Annotated[Base64Url, Field(alias="clientDataJSON")]
    attestation: Annotated[LongBase64Url, Field(alias="attestationObject")]
    transports: Annotated[list[Short], Field(max_length=10)] = []
    authenticator_data: Annotated[LongBase64Url | None, Field(alias="authenticatorData")] = None
    public_key: Annotated[Base64Url | None, Field(alias="publicKey")] = None
    algorithm: Annotated[int | None, Field(alias="publicKeyAlgorithm", ge=-70_000, le=70_000)] = None


class Asserted(Input):
    """What a credential has signed."""

    client_data: Annotated[Base64Url, Field(alias="clientDataJSON")]
    authenticator_data: Annotated[Base64Url, Field(alias="authenticatorData")]
    signature: Base64Url
    user_handle: Annotated[str | None, Field(alias="userHandle", max_length=128, pattern=r"^[A-Za-z0-9_-]*$")] = None
    attestation: Annotated[LongBase64Url | None, Field(alias="attestationObject")] = None


class NewPasskey(_Credential):
    """RegistrationResponseJSON."""

    response: Attested


class PasskeyAnswer(_Credential):
    """AuthenticationResponseJSON."""

    response: Asserted
