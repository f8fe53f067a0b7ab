from __future__ import annotations

import base64
import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fortress.clock import FixedClock
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing
from fortress.security.refusals import InvalidToken
from fortress.security.tokens import AccessTokens

USER, SESSION = UUID(int=7), UUID(int=8)


def test_what_was_issued_is_what_is_verified(tokens: AccessTokens, clock: FixedClock) -> None:
    issued = tokens.issue(USER, SESSION)
    claims = tokens.verify(issued.text)
    assert (claims.user, claims.session) == (USER, SESSION)
    assert claims.issued == int(clock.now().timestamp())
    assert claims.expires == claims.issued + issued.expires_in
    assert issued.expires_in == 600


def test_the_header_names_the_type_the_key_and_nothing_else(tokens: AccessTokens, ring: KeyRing) -> None:
    header = tokens.issue(USER, SESSION).text.partition(".")[0]
    said = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    assert said == {"alg": "EdDSA", "kid": ring.signer().kid, "typ": "at+jwt"}


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_anybody_can_verify_it_with_the_published_keys(tokens: AccessTokens, ring: KeyRing) -> None:
    published = KeySet.import_key_set(ring.jwks())  # type: ignore[arg-type]
    token = jwt.decode(tokens.issue(USER, SESSION).text, published, algorithms=["EdDSA"])
    assert set(token.claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti"}
    assert (token.claims["sub"], token.claims["sid"]) == (str(USER), str(SESSION))


def test_two_tokens_of_one_moment_differ(tokens: AccessTokens) -> None:
    assert len({tokens.issue(USER, SESSION).text for _ in range(100)}) == 100


@pytest.mark.parametrize(("seconds", "good"), [(604, True), (605, False), (606, False), (10**9, False)])
def test_a_token_ends_with_its_lifetime_and_the_skew(tokens: AccessTokens, clock: FixedClock, seconds: int, good: bool) -> None:
    text = tokens.issue(USER, SESSION).text
    clock.advance(timedelta(seconds=seconds))
    assert _holds(tokens, text) is good


@pytest.mark.parametrize(("seconds", "good"), [(4, True), (5, True), (6, False)])
def test_a_token_from_the_future_is_refused_beyond_the_skew(tokens: AccessTokens, clock: FixedClock, seconds: int, good: bool) -> None:
    clock.advance(timedelta(seconds=seconds))
    text = tokens.issue(USER, SESSION).text
    clock.advance(timedelta(seconds=-seconds))
    assert _holds(tokens, text) is good


def test_a_token_that_lives_longer_than_ours_is_refused(tokens: AccessTokens, ring: KeyRing, clock: FixedClock) -> None:
    generous = AccessTokens(ring, clock, issuer="https://shop.example", audience="https://shop.example", lifetime=timedelta(days=1))
    assert not _holds(tokens, generous.issue(USER, SESSION).text)


@pytest.mark.parametrize(
    ("issuer", "audience"), [("https://shop.example", "https://other"), ("https://shop.example/", "https://shop.example")]
)
def test_two_audiences_or_issuers_on_one_ring_never_interchange(
    tokens: AccessTokens, ring: KeyRing, clock: FixedClock, issuer: str, audience: str
) -> None:
    other = AccessTokens(ring, clock, issuer=issuer, audience=audience, lifetime=timedelta(minutes=10))
    assert _holds(other, other.issue(USER, SESSION).text)
    assert not _holds(tokens, other.issue(USER, SESSION).text)
    assert not _holds(other, tokens.issue(USER, SESSION).text)


def test_two_rotations_under_load_refuse_no_token(tokens: AccessTokens, keys: FileKeys, clock: FixedClock) -> None:
    """FAULTS: signing-key rotation twice under load. Another process rotates and issues; ours must follow at once."""
    elsewhere_ring = KeyRing(keys, clock, overlap=timedelta(minutes=11))
    elsewhere = AccessTokens(
        elsewhere_ring, clock, issuer="https://shop.example", audience="https://shop.example", lifetime=timedelta(minutes=10)
    )
    texts = []
    for turn in range(30):
        texts += [tokens.issue(uuid4(), SESSION).text, elsewhere.issue(uuid4(), SESSION).text]
        if turn in (10, 11):
            elsewhere_ring.rotate()
        assert all(_holds(place, text) for place in (tokens, elsewhere) for text in texts)
        clock.advance(timedelta(seconds=1))


def test_a_retired_key_is_refused_after_its_overlap(tokens: AccessTokens, ring: KeyRing, clock: FixedClock) -> None:
    ring.rotate()
    # Issued by a process that has not noticed yet, in the last second in which its key still counts.
    clock.advance(timedelta(minutes=10, seconds=59))
    late = AccessTokens(_Signs(ring), clock, issuer="https://shop.example", audience="https://shop.example", lifetime=timedelta(minutes=10))
    text = late.issue(USER, SESSION).text
    assert _holds(tokens, text)
    clock.advance(timedelta(seconds=1))
    assert not _holds(tokens, text)


def test_neither_token_nor_claims_show_the_text(tokens: AccessTokens) -> None:
    issued = tokens.issue(USER, SESSION)
    assert issued.text not in repr(issued)
    assert issued.text not in repr(issued.__rich_repr__())


def _holds(tokens: AccessTokens, text: str) -> bool:
    try:
        tokens.verify(text)
    except InvalidToken:
        return False
    return True


class _Signs(KeyRing):
    """Signs with the key that was retired."""

    def __init__(self, ring: KeyRing) -> None:
        self.__dict__.update(ring.__dict__)
        self._active = next(key for key in self._signing.values() if key.until is not None)
