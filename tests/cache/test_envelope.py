"""What is found in Redis is ours and for this very place, or it is nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.cache.envelope import COMPRESS_FROM, LARGEST, TOKEN, Envelopes, Opened

ENVELOPES = Envelopes(b"s" * 32)
TOKENS = (b"1" * TOKEN, b"2" * TOKEN)


@given(st.binary(max_size=3 * COMPRESS_FROM), st.lists(st.binary(min_size=TOKEN, max_size=TOKEN), max_size=5), st.floats(0, 3600))
def test_what_was_closed_is_opened_again(packed: bytes, tokens: list[bytes], took: float) -> None:
    sealed = ENVELOPES.close(b"place", tuple(tokens), took, packed)
    assert sealed is not None
    opened = ENVELOPES.open(b"place", sealed)
    assert opened == Opened(tuple(tokens), int(took * 1e6) / 1e6, packed)


@given(st.binary(max_size=200))
def test_whatever_else_is_there_is_nothing(found: bytes) -> None:
    assert ENVELOPES.open(b"place", found) is None


@given(st.binary(min_size=1, max_size=100), st.data())
def test_what_was_changed_cut_or_moved_is_nothing(packed: bytes, data: st.DataObject) -> None:
    sealed = ENVELOPES.close(b"place", TOKENS, 0.1, packed)
    assert sealed is not None
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + bytes((sealed[at] ^ data.draw(st.integers(1, 255)),)) + sealed[at + 1 :]
    assert ENVELOPES.open(b"place", changed) is None
    assert ENVELOPES.open(b"place", sealed[:at]) is None
    assert ENVELOPES.open(b"another", sealed) is None
    assert Envelopes(b"t" * 32).open(b"place", sealed) is None


def test_what_is_large_is_compressed_and_what_is_too_large_is_not_shared() -> None:
    text, noise = b"abc" * COMPRESS_FROM, random.Random(1).randbytes(COMPRESS_FROM)
    sizes = [len(ENVELOPES.close(b"place", TOKENS, 0.1, packed) or b"") for packed in (text, noise)]
    assert sizes[0] < COMPRESS_FROM < sizes[1]
    assert ENVELOPES.close(b"place", TOKENS, 0.1, bytes(LARGEST + 1)) is None


def test_a_bomb_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fortress.cache.envelope.LARGEST", 10 * LARGEST)
    sealed = ENVELOPES.close(b"place", TOKENS, 0.1, bytes(2 * LARGEST))
    monkeypatch.undo()
    assert sealed is not None
    assert ENVELOPES.open(b"place", sealed) is None


PARTS = st.lists(st.binary(max_size=40), max_size=4)


@given(PARTS, PARTS)
def test_two_questions_never_have_one_place(one: list[bytes], other: list[bytes]) -> None:
    """ASVS V1.3.9: also when they are made of what the other is made of, cut elsewhere."""
    assert (ENVELOPES.place(*one) == ENVELOPES.place(*other)) is (one == other)
    assert ENVELOPES.place(b"".join(one), b"") != ENVELOPES.place(b"".join(one))


def test_a_place_tells_nothing_and_fits_a_key() -> None:
    place = ENVELOPES.place(b"ann@example.com\r\nSET x 1", b"x" * 10_000)
    assert len(place) == 64
    assert place.isalnum()
    assert place != Envelopes(b"t" * 32).place(b"ann@example.com\r\nSET x 1", b"x" * 10_000)


def test_its_secret_is_not_shown_and_not_short() -> None:
    assert repr(ENVELOPES) == "Envelopes()"
    with pytest.raises(ValueError, match="16 to 64"):
        Envelopes(b"short")
