"""Input is strict, closed, and wrong in one go."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from fortress.context import RequestContext
from fortress.errors import BadRequest, Invalid, Refusal, RequestTimeout, TooLarge, UnsupportedMedia
from fortress.http.inputs import Input, query_fields, read_json
from fortress.http.request import Request


class Basket(Input):
    sku: Annotated[str, Field(max_length=5)]
    quantity: Annotated[int, Field(ge=1)]
    note: str | None = None


def request(body: bytes, *, kind: bytes | None = b"application/json", most: int = 1000, pieces: int = 1) -> Request:
    size = max(1, len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    head = {b"content-type": kind} if kind is not None else {}
    made = Request({"method": "POST", "path": "/", "query_string": b""}, head, receive, RequestContext("r", "a"))
    made.max_body, made.body_timeout = most, 1.0
    return made


async def refusal(body: bytes, **options: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await read_json(request(body, **options), Basket)
    return caught.value


async def test_a_right_body_is_read_in_any_pieces() -> None:
    read = await read_json(request(b'{"sku": "TEA", "quantity": 2}', pieces=7), Basket)
    assert read == Basket(sku="TEA", quantity=2)


async def test_all_errors_come_at_once_with_their_pointers() -> None:
    caught = await refusal(b'{"sku": "TOOLONG", "quantity": "2", "extra": 1}')
    assert isinstance(caught, Invalid)
    assert {error.field for error in caught.errors} == {"/sku", "/quantity", "/extra"}


async def test_what_was_sent_is_never_in_the_error() -> None:
    caught = await refusal(b'{"sku": "SECRETSECRET", "quantity": 0}')
    assert isinstance(caught, Invalid)
    assert "SECRET" not in repr(caught.errors)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"sku": "A", "sku": "B", "quantity": 1}',
        b'{"sku": "A", "quantity": NaN}',
        b'{"sku": "A", "quantity": Infinity}',
        b'{"sku": "A\\u0000", "quantity": 1}',
        b'{"sku": "\xff", "quantity": 1}',
        b'\xef\xbb\xbf{"sku": "A", "quantity": 1}',
        b"[" * 900,
        b'{"quantity": ' + b"9" * 900 + b"9" * 4000 + b"}",
        '{"sku": "A", "quantity": 1}'.encode("utf-16"),
    ],
)
async def test_what_parsers_differ_on_is_refused(body: bytes) -> None:
    assert isinstance(await refusal(body, most=10_000), BadRequest | Invalid)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b'{"sku": "A", "quantity": "1"}',
        b'{"sku": "A", "quantity": true}',
        b'{"sku": "A", "quantity": 1.5}',
        b'{"sku": "A", "quantity": 1e400}',
        b'{"sku": 1, "quantity": 1}',
        b'{"sku": "\\ud800", "quantity": 1}',
        b'{"SKU": "A", "quantity": 1}',
    ],
)
async def test_wrong_types_are_invalid_and_not_bent_into_shape(body: bytes) -> None:
    assert (await refusal(body)).status == 422


@pytest.mark.parametrize("kind", [None, b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/json; charset=latin-1"])
async def test_another_media_type_is_refused(kind: bytes | None) -> None:
    assert isinstance(await refusal(b"{}", kind=kind), UnsupportedMedia)


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON", b'application/json; charset="UTF-8"'])
async def test_json_is_taken_in_every_spelling(kind: bytes) -> None:
    assert (await read_json(request(b'{"sku": "A", "quantity": 1}', kind=kind), Basket)).sku == "A"


async def test_a_body_over_the_bound_is_refused_without_being_kept() -> None:
    assert isinstance(await refusal(b"x" * 1001, pieces=5), TooLarge)


async def test_a_body_that_never_ends_times_out() -> None:
    import asyncio

    waiting = request(b"")
    waiting.body_timeout = 0.01

    async def never() -> Any:
        await asyncio.Event().wait()

    waiting.receive = never
    with pytest.raises(RequestTimeout):
        await waiting.body()


async def test_a_body_that_breaks_off_is_malformed() -> None:
    broken = request(b"")

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    broken.receive = gone
    with pytest.raises(BadRequest):
        await broken.body()


def test_a_query_parameter_that_comes_twice_is_refused() -> None:
    with pytest.raises(BadRequest):
        query_fields(b"limit=1&limit=2")


@pytest.mark.parametrize("query", [b"a=%ff", b"&".join(b"a%d=1" % n for n in range(60)), b"a=\xff"])
def test_a_malformed_query_is_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        query_fields(query)


def test_a_nul_in_a_query_is_invalid() -> None:
    with pytest.raises(Invalid):
        query_fields(b"a=%00")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
async def test_any_json_is_read_or_refused(value: Any) -> None:
    with suppress(BadRequest, Invalid):
        await read_json(request(json.dumps(value).encode(), most=1_000_000), Basket)


@given(st.binary())
async def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(BadRequest, Invalid):
        await read_json(request(body, most=1_000_000), Basket)
