"""The forgeries of anchors and Wycheproof, each of them refused in the very same words (ASVS V9.1, V9.2; RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fortress.clock import FixedClock
from fortress.security.apikeys import new_api_key
from fortress.security.keys import KeyRing
from fortress.security.refresh import RefreshTokens
from fortress.security.refusals import InvalidToken
from fortress.security.tokens import AccessTokens

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Forge:
    """Everything that an attacker could have, and what only we have: the worst case signs with our own key."""

    def __init__(self, ring: KeyRing, tokens: AccessTokens, clock: FixedClock) -> None:
        self.ring = ring
        self.key = ring.signer()
        self.good = tokens.issue(UUID(int=7), UUID(int=8)).text
        self.head, self.body, self.mark = self.good.split(".")
        now = int(clock.now().timestamp())
        self.header: dict[str, Any] = {"alg": "EdDSA", "kid": self.key.kid, "typ": "at+jwt"}
        self.claims: dict[str, Any] = {
            "iss": "https://shop.example",
            "aud": "https://shop.example",
            "sub": str(UUID(int=7)),
            "sid": str(UUID(int=8)),
            "iat": now,
            "exp": now + 600,
            "jti": "a",
        }

    def sign(self, header: bytes, payload: bytes) -> str:
        """Signed for real, by the key in force."""
        text = f"{b64(header)}.{b64(payload)}"
        private = self.key.jwk.private_key
        assert isinstance(private, ed25519.Ed25519PrivateKey)
        return f"{text}.{b64(private.sign(text.encode()))}"

    def with_header(self, drop: str = "", **changes: object) -> str:
        header = {name: value for name, value in (self.header | changes).items() if name != drop}
        return self.sign(compact(header), compact(self.claims))

    def with_claims(self, drop: str = "", **changes: object) -> str:
        claims = {name: value for name, value in (self.claims | changes).items() if name != drop}
        return self.sign(compact(self.header), compact(claims))

    def with_exp(self, literal: str) -> str:
        payload = compact(self.claims).replace(f'"exp":{self.claims["exp"]}'.encode(), f'"exp":{literal}'.encode())
        return self.sign(compact(self.header), payload)

    def hmac_with(self, secret: bytes, alg: str = "HS256") -> str:
        text = f"{b64(compact(self.header | {'alg': alg}))}.{self.body}"
        return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"

    def unsigned(self, alg: str) -> str:
        return f"{b64(compact(self.header | {'alg': alg}))}.{self.body}."

    def by_another(self, **header: object) -> str:
        text = f"{b64(compact(self.header | header))}.{self.body}"
        return f"{text}.{b64(ed25519.Ed25519PrivateKey.generate().sign(text.encode()))}"

    @property
    def public(self) -> ed25519.Ed25519PublicKey:
        public = self.key.jwk.public_key
        assert isinstance(public, ed25519.Ed25519PublicKey)
        return public


def _psychic(forge: Forge) -> str:
    return f"{b64(compact(forge.header | {'alg': 'ES256'}))}.{forge.body}.{b64(bytes(64))}"


def _ecdsa(forge: Forge) -> str:
    text = f"{b64(compact(forge.header | {'alg': 'ES256'}))}.{forge.body}"
    return f"{text}.{b64(ec.generate_private_key(ec.SECP256R1()).sign(text.encode(), ec.ECDSA(SHA256())))}"


def _malleable(forge: Forge) -> str:
    mark = base64.urlsafe_b64decode(forge.mark + "==")
    scalar = int.from_bytes(mark[32:], "little") + GROUP_ORDER
    return f"{forge.head}.{forge.body}.{b64(mark[:32] + scalar.to_bytes(32, 'little'))}"


def _stray_bits(segment: str) -> str:
    """Another last letter that decoders without care read as the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


def _body_with_stray_bits(forge: Forge) -> str:
    """A payload segment with stray bits, signed as it stands."""
    body = next(b64(compact(forge.claims | {"jti": "a" * n})) for n in range(1, 4) if len(compact(forge.claims | {"jti": "a" * n})) % 3)
    text = f"{forge.head}.{_stray_bits(body)}"
    private = forge.key.jwk.private_key
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    return f"{text}.{b64(private.sign(text.encode()))}"


def _own_jwk(forge: Forge) -> str:
    private = ed25519.Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    header = forge.header | {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(raw), "kid": forge.key.kid}}
    text = f"{b64(compact(header))}.{forge.body}"
    return f"{text}.{b64(private.sign(text.encode()))}"


def _flattened(forge: Forge) -> str:
    return json.dumps({"protected": forge.head, "payload": forge.body, "signature": forge.mark})


def _general(forge: Forge) -> str:
    return json.dumps({"payload": forge.body, "signatures": [{"protected": forge.head, "signature": forge.mark}]})


def _twice(member: str, value: str, text: bytes) -> bytes:
    return text.replace(b"{", f'{{"{member}":{json.dumps(value)},'.encode(), 1)


Attack = Callable[[Forge], str]
EXPIRIES = '"9999999999" 9999999999.5 NaN Infinity -Infinity -1 1e20 100000000000000000000 1e400 true null [] {} 0 01 0x7fffffff'
KEY_IDS = ("", "../../../../dev/null", "/dev/random", "x' UNION SELECT 'key", "key|sleep 10", "https://evil.example/key", "\x00", "K" * 180)
ISSUERS = ("https://shop", "https://shop.example/", "https://shop.example.evil", "HTTPS://SHOP.EXAMPLE", "")


def _unsigned(alg: str) -> Attack:
    return lambda forge: forge.unsigned(alg)


def _header(**changes: object) -> Attack:
    return lambda forge: forge.with_header(**changes)  # type: ignore[arg-type]


def _claims(**changes: object) -> Attack:
    return lambda forge: forge.with_claims(**changes)  # type: ignore[arg-type]


def _without(claim: str) -> Attack:
    return lambda forge: forge.with_claims(drop=claim)


def _exp(literal: str) -> Attack:
    return lambda forge: forge.with_exp(literal)


def _exp_like(shape: str) -> Attack:
    return lambda forge: forge.with_exp(shape.format(forge.claims["exp"]))


SIGNATURES: dict[str, Attack] = {
    "no signature": lambda f: f"{f.head}.{f.body}.",
    "blank signature": lambda f: f"{f.head}.{f.body}. ",
    "zero signature": lambda f: f"{f.head}.{f.body}.{b64(bytes(64))}",
    "short signature": lambda f: f"{f.head}.{f.body}.{b64(bytes(63))}",
    "long signature": lambda f: f"{f.head}.{f.body}.{b64(base64.urlsafe_b64decode(f.mark + '==') + b'0')}",
    "another token's signature": lambda f: f"{f.head}.{f.body}.{f.with_claims(jti='b').split('.')[2]}",
    "signature plus the group order": _malleable,
    "psychic signature": _psychic,
    "ECDSA": _ecdsa,
    "another key under our id": lambda f: f.by_another(),
    "payload changed": lambda f: f"{f.head}.{b64(compact(f.claims | {'sub': str(UUID(int=9))}))}.{f.mark}",
    **{f"alg {name}": _unsigned(name) for name in ("none", "None", "NONE", "nOnE", "", "null")},
    "alg none with our signature": _header(alg="none"),
    "alg of another spelling": _header(alg="eddsa"),
    "alg Ed25519": _header(alg="Ed25519"),
    "alg list": _header(alg=["EdDSA"]),
    "no alg": _header(drop="alg"),
    "HS256 with the PEM": lambda f: f.hmac_with(f.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    "HS256 with the PEM, stripped": lambda f: f.hmac_with(f.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip()),
    "HS256 with the DER": lambda f: f.hmac_with(f.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    "HS256 with the raw key": lambda f: f.hmac_with(f.public.public_bytes(Encoding.Raw, PublicFormat.Raw)),
    "HS256 with the JWK": lambda f: f.hmac_with(compact(f.key.public_jwk())),
    "HS256 with a weak secret": lambda f: f.hmac_with(b"secret"),
    "HS256 with nothing": lambda f: f.hmac_with(b""),
    "EdDSA header over an HMAC": lambda f: f.hmac_with(b"secret", "EdDSA"),
}

HEADERS: dict[str, Attack] = {
    "embedded key": _own_jwk,
    "our key embedded": lambda f: f.with_header(jwk=f.key.public_jwk()),
    "jku": _header(jku="https://evil.example/jwks.json"),
    "x5u": _header(x5u="https://evil.example/cert.pem"),
    "x5c": _header(x5c=["MIIB"]),
    "x5t": _header(x5t="abc"),
    "crit unknown": _header(crit=["http://example.invalid/x"]),
    "crit empty": _header(crit=[]),
    "crit exp": _header(crit=["exp"], exp=1),
    "b64 false": _header(b64=False, crit=["b64"]),
    "b64 true": _header(b64=True),
    "zip": _header(zip="DEF"),
    "enc": _header(enc="A256GCM", alg="dir"),
    "cty": _header(cty="JWT"),
    "a member of its own": _header(admin=True),
    "no typ": _header(drop="typ"),
    **{
        f"typ {kind}": _header(typ=kind)
        for kind in ("JWT", "jwt", "AT+JWT", "application/at+jwt", "id+jwt", "logout+jwt", "dpop+jwt", "refresh+jwt", "", None, 1)
    },
    "no kid": _header(drop="kid"),
    **{f"kid {kid!r}"[:40]: _header(kid=kid) for kid in (*KEY_IDS, None, 0, ["a"], {"$ne": ""})},
    "members in another order": lambda f: f.sign(compact(dict(reversed(f.header.items()))), compact(f.claims)),
    "white space": lambda f: f.sign(json.dumps(f.header).encode(), compact(f.claims)),
    "alg twice": lambda f: f.sign(_twice("alg", "none", compact(f.header)), compact(f.claims)),
    "kid twice": lambda f: f.sign(_twice("kid", "x", compact(f.header)), compact(f.claims)),
    "escaped letters": lambda f: f.sign(compact(f.header).replace(b"EdDSA", b"\\u0045dDSA"), compact(f.claims)),
    "byte order mark": lambda f: f.sign(b"\xef\xbb\xbf" + compact(f.header), compact(f.claims)),
    "UTF-16": lambda f: f.sign(compact(f.header).decode().encode("utf-16"), compact(f.claims)),
    "not JSON": lambda f: f.sign(b"{", compact(f.claims)),
    "a list": lambda f: f.sign(b"[]", compact(f.claims)),
    "a number": lambda f: f.sign(b"1", compact(f.claims)),
    "deep": lambda f: f.sign(b"[" * 190, compact(f.claims)),
}

CLAIMS: dict[str, Attack] = {
    **{f"exp {literal}": _exp(literal) for literal in (*EXPIRIES.split(), "9" * 500)},
    **{f"exp {shape}": _exp_like(shape) for shape in ('"{}"', "{}.0", "{}e0", "[{}]", " {}")},
    "expired": lambda f: f.with_claims(iat=f.claims["iat"] - 3600, exp=f.claims["iat"] - 60),
    "ends before it begins": lambda f: f.with_claims(exp=f.claims["iat"] - 1),
    "lives for a year": lambda f: f.with_claims(exp=f.claims["iat"] + 31_536_000),
    "iat as text": lambda f: f.with_claims(iat=str(f.claims["iat"])),
    "iat as fraction": lambda f: f.with_claims(iat=f.claims["iat"] + 0.5),
    "iat true": lambda f: f.with_claims(iat=True),
    "iat in the future": lambda f: f.with_claims(iat=f.claims["iat"] + 60, exp=f.claims["exp"] + 60),
    "nbf in the future": lambda f: f.with_claims(nbf=f.claims["exp"]),
    "nbf in the past": lambda f: f.with_claims(nbf=1),
    **{f"iss {iss!r}": _claims(iss=iss) for iss in (*ISSUERS, ["https://shop.example"], None, 1, {"https://shop.example": 1})},
    **{
        f"aud {aud!r}": _claims(aud=aud)
        for aud in (
            ["https://shop.example"],
            ["https://shop.example", "https://other"],
            "https://other",
            "https://shop.example ",
            "",
            None,
            True,
        )
    },
    **{f"no {name}": _without(name) for name in ("iss", "aud", "sub", "sid", "iat", "exp", "jti")},
    "sub of another spelling": lambda f: f.with_claims(sub=UUID(int=7).hex),
    "sub in capitals": lambda f: f.with_claims(sub=str(UUID(int=10)).upper()),
    "sub not an id": lambda f: f.with_claims(sub="admin"),
    "sub a number": lambda f: f.with_claims(sub=7),
    "an id of 1,400 letters": _claims(jti="a" * 1400),
    "roles of its own": lambda f: f.with_claims(roles=["admin"]),
    "sub twice": lambda f: f.sign(compact(f.header), _twice("sub", str(UUID(int=9)), compact(f.claims))),
    "white space after": lambda f: f.sign(compact(f.header), compact(f.claims) + b" "),
    "empty payload": lambda f: f.sign(compact(f.header), b""),
    "payload null": lambda f: f.sign(compact(f.header), b"null"),
    "payload not JSON": lambda f: f.sign(compact(f.header), b"\xff\xfe"),
}

SHAPES: dict[str, Attack] = {
    "nothing": lambda f: "",
    "dots": lambda f: "..",
    "two segments": lambda f: f"{f.head}.{f.body}",
    "four segments": lambda f: f"{f.good}.{f.mark}",
    "five segments (JWE)": lambda f: f"{f.head}..{f.body}.{f.mark}.{f.mark}",
    "empty payload segment": lambda f: f"{f.head}..{f.mark}",
    "flattened JSON": _flattened,
    "general JSON": _general,
    "space before": lambda f: " " + f.good,
    "new line after": lambda f: f.good + "\n",
    "NUL after": lambda f: f.good + "\x00",
    "new line within": lambda f: f"{f.head}\n.{f.body}.{f.mark}",
    "padding": lambda f: f.good + "==",
    "header padded": lambda f: f"{f.head}=.{f.body}.{f.mark}",
    "standard alphabet": lambda f: f"{f.head}.{f.body}.{'+' + f.mark[1:]}",
    "stray bits in the signature": lambda f: f"{f.head}.{f.body}.{_stray_bits(f.mark)}",
    "stray bits in the payload": _body_with_stray_bits,
    "full-width letters": lambda f: "".join(chr(ord(letter) + 0xFEE0) if letter.isalnum() else letter for letter in f.good),
    "lone surrogate": lambda f: f.good + "\ud800",
    "2049 characters": lambda f: f"{f.head}.{'A' * (2048 - len(f.head) - len(f.mark) - 1)}.{f.mark}",
    "a megabyte": lambda f: f"{f.head}.{'A' * 1_000_000}.{f.mark}",
    "a megabyte of header": lambda f: f"{'A' * 1_000_000}.{f.body}.{f.mark}",
    "a refresh token": lambda f: RefreshTokens(f.ring).issue(UUID(int=8), 1),
    "an API key": lambda f: new_api_key(UUID(int=7)).text,
    "the scheme with it": lambda f: "Bearer " + f.good,
}

ATTACKS = [
    pytest.param(attack, id=f"{table}: {name}")
    for table, attacks in (("signature", SIGNATURES), ("header", HEADERS), ("claims", CLAIMS), ("shape", SHAPES))
    for name, attack in attacks.items()
]


@pytest.fixture
def forge(ring: KeyRing, tokens: AccessTokens, clock: FixedClock) -> Forge:
    return Forge(ring, tokens, clock)


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that asks an address in a header fails here, and not in silence."""

    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail("the verifier reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forgery_is_refused_in_the_same_words_as_every_other(attack: Attack, forge: Forge, tokens: AccessTokens) -> None:
    with pytest.raises(InvalidToken) as refused:
        tokens.verify(attack(forge))
    told = refused.value
    assert (told.status, told.code, told.detail, dict(told.headers), dict(told.data)) == (
        401,
        "auth.invalid_token",
        "The token is not valid.",
        {"www-authenticate": 'Bearer error="invalid_token"'},
        {},
    )
    assert told.__cause__ is None


def test_the_forge_itself_can_make_a_good_token(forge: Forge, tokens: AccessTokens) -> None:
    """Otherwise every attack above might be refused for a reason of its own."""
    assert tokens.verify(forge.good).user == UUID(int=7)
    assert tokens.verify(forge.with_header()).user == UUID(int=7)
    assert tokens.verify(forge.with_claims(jti="another")).id == "another"
    assert tokens.verify(forge.with_claims(jti="a" * 900)).id == "a" * 900
    assert tokens.verify(forge.with_exp(str(forge.claims["exp"]))).expires == forge.claims["exp"]


def test_an_error_never_holds_the_signature(forge: Forge, tokens: AccessTokens) -> None:
    """CVE-2019-7644: the expected signature stood in the message."""
    with pytest.raises(InvalidToken) as refused:
        tokens.verify(f"{forge.head}.{forge.body}.{b64(hashlib.sha512(b'').digest())}")
    assert forge.mark not in repr(refused.value) + str(refused.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_change_of_one_letter_is_accepted(data: st.DataObject, forge: Forge, tokens: AccessTokens) -> None:
    place = data.draw(st.integers(0, len(forge.good) - 1))
    letter = data.draw(st.characters())
    changed = forge.good[:place] + letter + forge.good[place + 1 :]
    if changed == forge.good:
        return
    with pytest.raises(InvalidToken):
        tokens.verify(changed)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=300))
def test_noise_is_refused_and_never_an_error_of_ours(text: str, tokens: AccessTokens) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(text)
