"""A sealed value opens where it was sealed, by the key that sealed it, and nowhere else (ASVS V11.2.5, V11.3.3, V11.3.4)."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.security.encoding import framed
from fortress.security.sealing import LATEST_VERSION, ValueCipher, blind_digest, place
from fortress.security.wrapping import Unreadable

KEY, SUBJECT, ROW = bytes(range(32)), UUID(int=7), UUID(int=9).bytes
HERE = place("users", "email")
names = st.text(max_size=12)


def cipher(subject: UUID = SUBJECT, version: int = 1, key: bytes = KEY) -> ValueCipher:
    return ValueCipher(key, subject, version)


@given(st.binary(max_size=300))
def test_what_was_sealed_opens_where_it_was_sealed(value: bytes) -> None:
    sealed = cipher().seal(HERE, ROW, value)
    assert cipher().open(HERE, ROW, sealed) == value
    assert len(sealed) == 1 + 4 + 12 + len(value) + 16


@given(st.binary(max_size=40), st.data())
def test_any_changed_byte_is_refused(value: bytes, data: st.DataObject) -> None:
    sealed = bytearray(cipher().seal(HERE, ROW, value))
    sealed[data.draw(st.integers(5, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unreadable):
        cipher().open(HERE, ROW, bytes(sealed))


@given(st.binary(max_size=10), st.integers(0, 42))
def test_what_was_cut_is_refused(value: bytes, kept: int) -> None:
    sealed = cipher().seal(HERE, ROW, value)
    if kept < len(sealed):
        with pytest.raises(Unreadable):
            cipher().open(HERE, ROW, sealed[:kept])


@pytest.mark.parametrize(
    ("opened_by", "where", "row"),
    [
        (cipher(), place("users", "name"), ROW),
        (cipher(), place("people", "email"), ROW),
        (cipher(), HERE, uuid4().bytes),
        (cipher(subject=uuid4()), HERE, ROW),
        (cipher(version=2), HERE, ROW),
        (cipher(key=bytes(32)), HERE, ROW),
    ],
    ids=["column", "table", "row", "person", "version", "key"],
)
def test_what_was_moved_is_refused(opened_by: ValueCipher, where: bytes, row: bytes) -> None:
    sealed = cipher().seal(HERE, ROW, b"ann@example.com")
    with pytest.raises(Unreadable) as caught:
        opened_by.open(where, row, sealed)
    assert str(caught.value) == str(Unreadable())
    assert caught.value.__cause__ is None


@given(st.lists(names, min_size=2, max_size=2), st.lists(names, min_size=2, max_size=2))
def test_no_two_places_are_one(one: list[str], other: list[str]) -> None:
    assert (place(*one) == place(*other)) == (one == other)
    assert place(*one).startswith(place(*other)) == (one == other)


@given(st.lists(st.binary(max_size=9), max_size=5), st.lists(st.binary(max_size=9), max_size=5))
def test_framing_never_collides(one: list[bytes], other: list[bytes]) -> None:
    assert (framed(*one) == framed(*other)) == (one == other)


@given(st.uuids(), st.uuids(), st.integers(1, LATEST_VERSION))
def test_the_associated_data_is_the_framed_list(row: UUID, subject: UUID, version: int) -> None:
    whole = framed(b"users", b"email", row.bytes, subject.bytes, version.to_bytes(4, "big"))
    assert HERE + row.bytes + ValueCipher(KEY, subject, version).tail == whole


def test_nonces_do_not_repeat() -> None:
    sealer = cipher()
    assert len({sealer.seal(HERE, ROW, b"")[5:17] for _ in range(1_000_000)}) == 1_000_000


@pytest.mark.parametrize(("key", "version"), [(bytes(16), 1), (bytes(33), 1), (KEY, 0), (KEY, 2**32)])
def test_a_key_has_256_bits_and_a_version_of_32(key: bytes, version: int) -> None:
    with pytest.raises(ValueError, match="32 b"):
        ValueCipher(key, SUBJECT, version)


def test_a_cipher_shows_nothing() -> None:
    assert repr(cipher()) == "ValueCipher(hidden)"


def test_a_digest_is_whole_and_of_its_key() -> None:
    # RFC 4231, test case 2.
    assert blind_digest(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert blind_digest(KEY, b"x") != blind_digest(bytes(32), b"x")
