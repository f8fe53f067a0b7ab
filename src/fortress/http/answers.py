"""What a handler may answer with, and how it becomes bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from fortress.cache.shelf import KEPT
from fortress.http.request import Request

T = TypeVar("T")
Header = tuple[bytes, bytes]

JSON_TYPE = (b"content-type", b"application/json; charset=utf-8")
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Answer:
    """A finished answer: status, headers (lower-case names) and a body of bytes.

    Attributes:
        replaces: True when its headers stand in place of the usual ones of the same name (a page with scripts).
    """

    __slots__ = ("body", "headers", "replaces", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Sequence[Header] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.replaces = False


class Created(msgspec.Struct, Generic[T], frozen=True):
    """201 with the new thing, found `at` this path (without the version prefix, which is added)."""

    value: T
    at: str


class Accepted(msgspec.Struct, Generic[T], frozen=True):
    """202: it will be done."""

    value: T


class Headed(msgspec.Struct, Generic[T], frozen=True):
    """200 with headers of its own beside the usual ones."""

    value: T
    headers: tuple[Header, ...]

    def __repr__(self) -> str:
        return f"Headed({self.value!r})"


class SeeOther(msgspec.Struct, frozen=True):
    """303: go on at this path of ours, with headers of its own; never another site, and never 307, which would repeat a form."""

    at: str
    headers: tuple[Header, ...] = ()

    def __repr__(self) -> str:
        return f"SeeOther({self.at!r})"


def render_json(value: Any, status: int = 200, headers: Sequence[Header] = ()) -> Answer:
    """`value` as JSON: snake_case, RFC 3339 times, decimals as strings."""
    return Answer(status, _body(value), (JSON_TYPE, *headers))


def render_ok(value: Any, _request: Request) -> Answer:
    return Answer(200, _body(value), (JSON_TYPE,))


def _body(value: Any) -> bytes:
    """The value as JSON; of one that the cache keeps, as it was sent the first time."""
    kept = KEPT.get(id(value))
    if kept is None:
        return _encode(value)
    if kept.body is None:
        kept.body = _encode(value)
    return kept.body


def render_created(value: Created[Any], request: Request) -> Answer:
    location = (request.prefix + value.at).encode("ascii")
    return Answer(201, _encode(value.value), (JSON_TYPE, (b"location", location)))


def render_accepted(value: Accepted[Any], _request: Request) -> Answer:
    return Answer(202, _encode(value.value), (JSON_TYPE,))


def render_headed(value: Headed[Any], _request: Request) -> Answer:
    return Answer(200, _encode(value.value), (JSON_TYPE, *value.headers))


def render_see_other(value: SeeOther, _request: Request) -> Answer:
    return Answer(303, headers=((b"location", value.at.encode("ascii")), *value.headers))


def render_nothing(_value: None, _request: Request) -> Answer:
    return Answer(204)


def render_answer(value: Answer, _request: Request) -> Answer:
    value.replaces = True
    return value
