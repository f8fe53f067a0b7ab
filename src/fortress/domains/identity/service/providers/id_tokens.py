"""ID tokens: who came, as the issuer signed it for us (OpenID Connect Core 1.0 §3.1.3.7; ASVS V6.8.2, V10.5).

The algorithm is one of a closed list of asymmetric ones and must fit the issuer's own key; nothing in a header brings a
key along. RS256 is accepted here, and only here, because OpenID Connect demands it of every issuer.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from fortress.domains.identity.service.providers.documents import Documents
from fortress.domains.identity.service.providers.kinds import TENANT, Provider
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted
from fortress.security.encoding import from_base64url
from fortress.security.keymaterial import OneAlgorithm

LEEWAY: Final = 60
_LONGEST: Final = 16 * 1024
_SEGMENT: Final = r"[A-Za-z0-9_-]+"
_SHAPE: Final = re.compile(rf"{_SEGMENT}\.{_SEGMENT}\.{_SEGMENT}", re.ASCII)
_SUBJECT: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?", re.ASCII)
# Keys in the header, other ways to read the payload, and whatever else must be understood to be safe.
_NEVER: Final = frozenset(("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip"))
# By algorithm: the key's type, and its curve where that follows.
_ALGORITHMS: Final[dict[str, tuple[str, str | None]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
# Base64url letters of 2048 and of 8192 bits; of a public exponent of 64 bits.
_MODULUS: Final = range(342, 1367)
_EXPONENT: Final = range(1, 12)


class Claims(msgspec.Struct, frozen=True):
    """What we use of an ID token, of the types that it must have."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str | None = None
    azp: str | None = None
    nbf: int | float | None = None
    auth_time: int | float | None = None
    acr: str | None = None
    amr: list[str] = []
    tid: str | None = None

    def __repr__(self) -> str:
        return "Claims(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Expected(msgspec.Struct, frozen=True):
    """What an ID token must say to be the answer to our question.

    Attributes:
        issuer: who the answer to the browser said that it is; None: it did not say.
        now: Unix seconds.
        max_age: how many seconds ago the person may have proved who they are; None: it was not asked.
    """

    nonce: str
    issuer: str | None
    now: float
    max_age: int | None


async def read_id_token(text: str, provider: Provider, documents: Documents, expected: Expected) -> tuple[Claims, dict[str, Any]]:
    """The claims of an ID token that holds, as we use them and as they were signed.

    Raises:
        Untrusted: it does not hold; its fault says why.
        ProviderUnavailable: the issuer's keys can't be had.
    """
    header = _header(text)
    algorithm = header["alg"]
    keys = _fitting(await documents.keys(header.get("kid")), algorithm)
    if len(keys) != 1:
        # None, or several that nothing tells apart.
        raise Untrusted(Fault.KEY)
    payload = _verified(text, keys[0], algorithm)
    claims, signed = _claims(payload)
    check(claims, provider, expected)
    key_issuer = keys[0].get("issuer")
    if key_issuer is not None and str(key_issuer).replace(TENANT, claims.tid or "") != claims.iss:
        # One set of keys of many tenants may say of each key whose it is.
        raise Untrusted(Fault.KEY)
    return claims, signed


def check(claims: Claims, provider: Provider, expected: Expected) -> None:
    """Hold the claims against what was asked. Pure.

    Raises:
        Untrusted: the first that does not fit.
    """
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    for holds, fault in (
        (claims.iss == provider.issuer_of(claims.tid), Fault.ISSUER),
        (expected.issuer in (None, claims.iss), Fault.ISSUER),
        # A token that is meant for others too may come from them.
        (audience == [provider.client_id], Fault.AUDIENCE),
        (claims.azp in (None, provider.client_id), Fault.AUTHORIZED_PARTY),
        (hmac.compare_digest((claims.nonce or "").encode(), expected.nonce.encode()), Fault.NONCE),
        (_SUBJECT.fullmatch(claims.sub) is not None, Fault.SUBJECT),
        (expected.now < claims.exp + LEEWAY, Fault.EXPIRED),
        (max(claims.iat, claims.nbf or 0) <= expected.now + LEEWAY, Fault.TOO_EARLY),
        (_recent(claims.auth_time, expected), Fault.AGE),
    ):
        if not holds:
            raise Untrusted(fault)


def _recent(auth_time: float | None, expected: Expected) -> bool:
    if expected.max_age is None:
        return True
    return auth_time is not None and expected.now - expected.max_age - LEEWAY <= auth_time <= expected.now + LEEWAY


def _header(text: str) -> dict[str, Any]:
    if len(text) > _LONGEST or not _SHAPE.fullmatch(text):
        raise Untrusted(Fault.SHAPE)
    try:
        header = msgspec.json.decode(from_base64url(text.partition(".")[0]), type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError):
        raise Untrusted(Fault.SHAPE) from None
    kid, typ = header.get("kid", ""), header.get("typ", "JWT")
    if _NEVER & header.keys() or not isinstance(kid, str) or not isinstance(typ, str) or typ.upper() != "JWT":
        raise Untrusted(Fault.HEADER)
    if not isinstance(header.get("alg"), str) or header["alg"] not in _ALGORITHMS:
        raise Untrusted(Fault.ALGORITHM)
    return header


def _fitting(keys: Iterable[dict[str, Any]], algorithm: str) -> Sequence[dict[str, Any]]:
    """The keys that may have signed with this algorithm."""
    kind, curve = _ALGORITHMS[algorithm]
    return [
        key
        for key in keys
        if key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and (not isinstance(key.get("key_ops"), list) or "verify" in key["key_ops"])
    ]


def _verified(text: str, key: dict[str, Any], algorithm: str) -> bytes:
    kind = _ALGORITHMS[algorithm][0]
    public: dict[str, str | list[str]] = {name: key[name] for name in _MEMBERS[kind] if isinstance(key.get(name), str)}
    if len(public) != len(_MEMBERS[kind]) or (kind == "RSA" and (len(public["n"]) not in _MODULUS or len(public["e"]) not in _EXPONENT)):
        raise Untrusted(Fault.KEYS)
    registry = OneAlgorithm(algorithm)
    # Issuers may add members of their own; those that would change something were refused before.
    registry.strict_check_header = False
    try:
        return jws.deserialize_compact(text, import_key({"kty": kind, **public}), registry=registry).payload
    except (JoseError, ValueError):
        raise Untrusted(Fault.SIGNATURE) from None


def _claims(payload: bytes) -> tuple[Claims, dict[str, Any]]:
    try:
        return msgspec.json.decode(payload, type=Claims), msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Untrusted(Fault.CLAIMS) from None
