from __future__ import annotations

import hashlib
import hmac
import struct
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fortress.clock import FixedClock
from fortress.security.encoding import to_base64url
from fortress.security.keyfile import FileKeys
from fortress.security.keys import KeyRing, new_ring
from fortress.security.refresh import MAX_GENERATION, RefreshTokens, digest_of, matches
from fortress.security.refusals import InvalidToken

SESSION = UUID(int=8)
with_fixtures = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def refresh(ring: KeyRing) -> RefreshTokens:
    return RefreshTokens(ring)


@with_fixtures
@given(session=st.uuids(), generation=st.integers(0, MAX_GENERATION))
def test_what_was_issued_is_what_is_read(refresh: RefreshTokens, session: UUID, generation: int) -> None:
    text = refresh.issue(session, generation)
    read = refresh.read(text)
    assert (read.session_id, read.generation) == (session, generation)
    assert read.digest == hashlib.sha256(text.encode()).digest()


@with_fixtures
@given(data=st.data())
def test_no_change_of_one_letter_is_accepted(refresh: RefreshTokens, data: st.DataObject) -> None:
    text = refresh.issue(SESSION, 3)
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    if changed != text:
        with pytest.raises(InvalidToken):
            refresh.read(changed)


@with_fixtures
@given(text=st.text(max_size=120))
def test_noise_is_refused(refresh: RefreshTokens, text: str) -> None:
    with pytest.raises(InvalidToken):
        refresh.read(text)


@pytest.mark.parametrize(
    "change", [lambda t: t + "\n", lambda t: " " + t, lambda t: t + "=", lambda t: t[:-1], lambda t: "", lambda t: t * 1000]
)
def test_a_token_of_another_length_is_refused(refresh: RefreshTokens, change: object) -> None:
    assert callable(change)
    with pytest.raises(InvalidToken):
        refresh.read(change(refresh.issue(SESSION, 3)))


def test_a_token_of_another_ring_is_refused(refresh: RefreshTokens, clock: FixedClock, keys: FileKeys) -> None:
    keys.change(lambda _: new_ring(clock.now()))
    stranger = RefreshTokens(KeyRing(keys, clock))
    with pytest.raises(InvalidToken):
        refresh.read(stranger.issue(SESSION, 3))


def test_a_token_of_another_version_is_refused_though_we_signed_it(refresh: RefreshTokens, ring: KeyRing) -> None:
    body = struct.pack(">BI16sI", 2, ring.secret("refresh").id, SESSION.bytes, 3)
    mac = hmac.digest(ring.secret("refresh").material.reveal(), body, "sha256")
    with pytest.raises(InvalidToken):
        refresh.read("fr_" + to_base64url(body + mac))


def test_the_same_generation_is_the_same_token_and_the_next_another(refresh: RefreshTokens) -> None:
    assert refresh.issue(SESSION, 4) == refresh.issue(SESSION, 4)
    assert refresh.issue(SESSION, 4) != refresh.issue(SESSION, 5)
    assert refresh.issue(SESSION, 4) != refresh.issue(uuid4(), 4)


def test_a_stored_successor_is_made_again_although_the_key_rotated(refresh: RefreshTokens, ring: KeyRing) -> None:
    text = refresh.issue(SESSION, 4)
    ring.rotate_secrets()
    assert refresh.issue(SESSION, 4) != text
    assert refresh.again(SESSION, 4, digest_of(text)) == text
    assert refresh.again(SESSION, 5, digest_of(text)) is None


def test_a_retired_master_reads_until_its_overlap_ends(refresh: RefreshTokens, ring: KeyRing, clock: FixedClock) -> None:
    text = refresh.issue(SESSION, 4)
    ring.rotate_secrets()
    clock.advance(timedelta(days=90))
    assert refresh.read(text).generation == 4
    clock.advance(timedelta(days=1))
    with pytest.raises(InvalidToken):
        refresh.read(text)
    assert refresh.again(SESSION, 4, digest_of(text)) is None


@pytest.mark.parametrize("generation", [-1, MAX_GENERATION + 1])
def test_a_generation_out_of_range_is_not_issued(refresh: RefreshTokens, generation: int) -> None:
    with pytest.raises(ValueError, match="generation"):
        refresh.issue(SESSION, generation)


def test_digests_are_compared_whole() -> None:
    assert matches(digest_of("a"), digest_of("a"))
    assert not matches(digest_of("a"), digest_of("b"))
    assert not matches(digest_of("a"), digest_of("a")[:-1])
