"""Round trips are counted in PostgreSQL's own words, however TCP cuts them."""

from __future__ import annotations

import pytest

from bench.wire import ReadyCounter


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


_ANSWER = _message(b"1") + _message(b"2") + _message(b"D", b"ZZZZ") + _message(b"C", b"SELECT 1\0") + _message(b"Z", b"I")


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
def test_each_answer_counts_once_wherever_it_is_cut(size: int) -> None:
    counter = ReadyCounter()
    stream = _ANSWER * 3
    for start in range(0, len(stream), size):
        counter.feed(stream[start : start + size])
    assert counter.count == 3


def test_the_letter_in_a_row_is_not_an_answer() -> None:
    counter = ReadyCounter()
    counter.feed(_message(b"D", b"Z" * 50))
    assert counter.count == 0
