"""The relying party's side of WebAuthn Level 3, by py_webauthn.

Imported at first use and in a thread, because the library takes 17 MB and a fifth of a second: see `ceremonies`.

Only Ed25519 and ECDSA with P-256 are offered and accepted; PKCS#1 v1.5 signatures are not (ASVS 5.0, App. C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import webauthn
from webauthn.helpers import exceptions
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from fortress.domains.identity.service.ceremonies import Assertion, KnownCredential, NewCredential, Refused, Site, WhoIsAsked
from fortress.security.encoding import from_base64url

_ALGORITHMS: Final = [COSEAlgorithmIdentifier.EDDSA, COSEAlgorithmIdentifier.ECDSA_SHA_256]
_TIMEOUT: Final = 300_000
_TRANSPORTS: Final = frozenset(transport.value for transport in AuthenticatorTransport)
# What parsers of bytes from outside raise when these are not what they should be.
_MALFORMED: Final = (exceptions.WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class _ClientData(msgspec.Struct):
    """The one member that the library does not look at."""

    cross_origin: bool = msgspec.field(name="crossOrigin", default=False)


def creation_options(site: Site, asked: WhoIsAsked, challenge: bytes, known: Sequence[KnownCredential]) -> dict[str, Any]:
    """What `navigator.credentials.create` is given, as JSON."""
    options = webauthn.generate_registration_options(
        rp_id=site.id,
        rp_name=site.name,
        user_id=asked.handle,
        user_name=asked.name,
        user_display_name=asked.title,
        challenge=challenge,
        timeout=_TIMEOUT,
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=_described(known),
        supported_pub_key_algs=_ALGORITHMS,
    )
    return webauthn.helpers.options_to_json_dict(options)


def request_options(site: Site, challenge: bytes, known: Sequence[KnownCredential]) -> dict[str, Any]:
    """What `navigator.credentials.get` is given, as JSON; without known ones any passkey of the site may answer."""
    options = webauthn.generate_authentication_options(
        rp_id=site.id,
        challenge=challenge,
        timeout=_TIMEOUT,
        allow_credentials=_described(known) or None,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return webauthn.helpers.options_to_json_dict(options)


def verify_registration(site: Site, credential: Mapping[str, Any], challenge: bytes) -> NewCredential:
    """The new credential, if all of WebAuthn §7.1 holds. Raises Refused."""
    try:
        _refuse_frames(credential)
        verified = webauthn.verify_registration_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            require_user_verification=True,
            supported_pub_key_algs=_ALGORITHMS,
        )
    except _MALFORMED as error:
        raise Refused from error
    reported = credential["response"].get("transports") or ()
    return NewCredential(
        id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=tuple(one for one in dict.fromkeys(reported) if one in _TRANSPORTS),
        synced=verified.credential_device_type == "multi_device",
        backed_up=verified.credential_backed_up,
    )


def verify_assertion(site: Site, credential: Mapping[str, Any], challenge: bytes, public_key: bytes) -> Assertion:
    """What a credential has signed, if all of WebAuthn §7.2 holds but the counter, which the database knows. Raises Refused."""
    try:
        _refuse_frames(credential)
        verified = webauthn.verify_authentication_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except _MALFORMED as error:
        raise Refused from error
    return Assertion(
        sign_count=verified.new_sign_count,
        synced=verified.credential_device_type == "multi_device",
        backed_up=verified.credential_backed_up,
    )


def _described(known: Sequence[KnownCredential]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(id=one.id, transports=[AuthenticatorTransport(name) for name in one.transports] or None)
        for one in known
    ]


def _refuse_frames(credential: Mapping[str, Any]) -> None:
    """A page of another site that shows ours in a frame gets no passkey (§7.1 step 9, §7.2 step 12)."""
    raw = from_base64url(credential["response"]["clientDataJSON"])
    if msgspec.json.decode(raw, type=_ClientData).cross_origin:
        raise ValueError("asked for in a frame of another origin")
