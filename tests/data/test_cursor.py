"""Cursors: what we wrote comes back, what anybody else wrote does not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.data import Cursors
from fortress.errors import Invalid
from fortress.security.permissions import Method, Reach
from fortress.security.principal import Principal

CURSORS = Cursors(b"sixteen bytes and more")
ME = Principal(UUID(int=1), Method.SESSION)
Kind = tuple[datetime, UUID, str, int]

moments = st.integers(0, 2**31 * 10**6).map(lambda micro: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro))
values = st.tuples(moments, st.uuids(), st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))


def refused(cursor: str, query: str = "Things.recent", who: Principal = ME, kind: Any = Kind) -> None:
    with pytest.raises(Invalid) as caught:
        CURSORS.read(cursor, query, who, kind)
    assert [(error.field, error.code) for error in caught.value.errors] == [("?cursor", "cursor")]


@given(values)
def test_what_was_written_is_read(written: Kind) -> None:
    cursor = CURSORS.write("Things.recent", ME, written)
    assert CURSORS.read(cursor, "Things.recent", ME, Kind) == written
    assert len(cursor) <= 512
    assert cursor.isascii()
    assert "=" not in cursor


@given(values, st.data())
def test_a_changed_cursor_is_refused(written: Kind, data: st.DataObject) -> None:
    cursor = CURSORS.write("Things.recent", ME, written)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda one: one != cursor[at]))
    refused(cursor[:at] + other + cursor[at + 1 :])
    refused(cursor[:at])
    refused(cursor + other)


@given(st.text(max_size=600))
def test_anything_else_is_refused(text: str) -> None:
    refused(text)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(raw: bytes) -> None:
    refused(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


def test_a_cursor_is_of_one_query_one_caller_one_reach_and_one_secret() -> None:
    written = (datetime(2026, 1, 1, tzinfo=UTC), uuid4(), "a", 1)
    cursor = CURSORS.write("Things.recent", ME, written)
    refused(cursor, query="Things.recen")
    refused(cursor, query="Things.recentt")
    refused(cursor, who=Principal(UUID(int=2), Method.SESSION))
    refused(cursor, who=ME.reaching(Reach.ANY))
    with pytest.raises(Invalid):
        Cursors(b"another secret of ours").read(cursor, "Things.recent", ME, Kind)


def test_the_parts_of_a_cursor_are_framed() -> None:
    """Bytes can't move from the query's name into the values."""
    first = CURSORS.write("ab", ME, ("c",))
    raw = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
    moved = base64.urlsafe_b64encode(raw[:16] + b"b" + raw[16:]).rstrip(b"=").decode()
    refused(moved, query="a", kind=tuple[str])


def test_a_cursor_of_an_older_order_is_refused_and_no_fault() -> None:
    cursor = CURSORS.write("Things.recent", ME, ("text", 7))
    refused(cursor, kind=tuple[datetime, UUID])


def test_an_endless_cursor_is_not_even_decoded() -> None:
    refused("A" * 513)


@pytest.mark.parametrize("secret", [b"", b"x" * 15, b"x" * 65])
def test_the_secret_has_a_length(secret: bytes) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        Cursors(secret)


def test_the_secret_is_not_shown() -> None:
    assert repr(CURSORS) == "Cursors()"
    assert not hasattr(CURSORS, "secret")
    with pytest.raises(TypeError):
        msgspec.json.encode(CURSORS)
