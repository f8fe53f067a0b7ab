"""Conditional requests (RFC 9110 §8.8.3, §13): what a client has already is not sent again, and what it has not seen not overwritten.

The entity tag of a versioned entity is its version, strong: every shape of it has an address of its own. Where a route says
`etag=True` it is a digest of the answer, weak, for what is behind it may change without a trace in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, get_args, get_origin

from fortress.data.entity import Entity, shape_of
from fortress.data.expected import WHATEVER, Expected
from fortress.errors import BadRequest, PreconditionFailed, PreconditionRequired
from fortress.http.answers import Answer, Created, Header
from fortress.http.compression import VARY, of_any_coding
from fortress.http.request import Request

Render = Callable[[Any, Request], Answer]

MOST_TAGS: Final = 20
# What a client sends that has read one version; the server takes lists too.
TAG_PATTERN: Final = r'^(\*|"[0-9]{1,18}(;gzip)?")$'
_ETAG: Final = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_LIST: Final = re.compile(rb"[ \t]*(" + _ETAG + rb")[ \t]*(?:,|$)")
_VERSION: Final = re.compile(rb'"(0|[1-9][0-9]{0,18})"')
_ANY: Final = b"*"
_WEAK: Final = b"W/"
_READING: Final = frozenset({"GET", "HEAD"})
_DIGEST: Final = 12


def tagged(returns: Any, render: Render, *, digested: bool) -> Render:
    """How a handler's result becomes an answer with an entity tag, where it has one.

    Args:
        returns: what the handler says that it answers with.
        render: what makes the answer.
        digested: whether the tag is a digest of the answer.
    """
    if digested:
        return _digesting(render)
    version = version_column(returns)
    return _versioned(render, version) if version is not None else render


def version_column(returns: Any) -> str | None:
    """The column that is the entity tag of what a handler answers with; None: it has none by itself."""
    kind = get_args(returns)[0] if get_origin(returns) is Created else returns
    return shape_of(kind).version if isinstance(kind, type) and issubclass(kind, Entity) else None


def read_expected(request: Request) -> Expected:
    """What If-Match says; strong, so weak tags and those of anything else match nothing (RFC 9110 §13.1.1).

    Raises:
        BadRequest: it is malformed, or names more than 20 tags.
    """
    given = request.head.get(b"if-match")
    if given is None or given.strip() == _ANY:
        return WHATEVER
    tags = read_tags(given)
    if tags is None:
        raise BadRequest("If-Match is malformed.")
    return Expected(frozenset(int(found[1]) for tag in tags if (found := _VERSION.fullmatch(of_any_coding(tag)))))


def require_condition(request: Request) -> None:
    """Raises PreconditionRequired where lost updates matter and nobody says what they have seen (RFC 6585 §3)."""
    if b"if-match" not in request.head:
        raise PreconditionRequired("Say with If-Match which version you have seen: the ETag of what you have read.")


def stale(request: Request) -> PreconditionFailed | None:
    """What becomes of a stale version: nothing of its own, unless the caller has named one."""
    return PreconditionFailed() if b"if-match" in request.head else None


def read_tags(value: bytes) -> list[bytes] | None:
    """The entity tags of a list; None: it is malformed or has too many."""
    tags: list[bytes] = []
    place = 0
    while place < len(value):
        found = _LIST.match(value, place)
        if found is None or len(tags) == MOST_TAGS:
            return None
        tags.append(found[1])
        place = found.end()
    return tags or None


def known_tag(request: Request, tag: bytes) -> bytes | None:
    """The tag by which If-None-Match says that the client has this; None: it has not.

    Compared weakly, and ignored when malformed (RFC 9110 §13.1.2). It is the client's own tag, of the coding that it keeps: by
    another one a cache would not know what to keep on using (RFC 9111 §4.3.4).
    """
    given = request.head.get(b"if-none-match")
    if given is None or request.method not in _READING:
        return None
    if of_any_coding(given) == tag:
        return given
    if given.strip() == _ANY:
        return tag
    opaque = tag.removeprefix(_WEAK)
    own = (one.removeprefix(_WEAK) for one in read_tags(given) or ())
    found = next((one for one in own if of_any_coding(one) == opaque), None)
    return found if found is None or tag == opaque else tag


def _versioned(render: Render, version: str) -> Render:
    def rendered(value: Any, request: Request) -> Answer:
        row = value.value if isinstance(value, Created) else value
        tag = b'"%d"' % getattr(row, version)
        known = known_tag(request, tag)
        # What the client has is not even encoded.
        return _with_tag(render(value, request), tag) if known is None else _unchanged(known)

    return rendered


def _digesting(render: Render) -> Render:
    def rendered(value: Any, request: Request) -> Answer:
        answer = render(value, request)
        tag = b'W/"%s"' % blake2b(answer.body, digest_size=_DIGEST).hexdigest().encode()
        known = known_tag(request, tag)
        return _with_tag(answer, tag) if known is None else _unchanged(known)

    return rendered


def _unchanged(tag: bytes) -> Answer:
    return Answer(304, headers=(_header(tag), VARY))


def _with_tag(answer: Answer, tag: bytes) -> Answer:
    answer.headers = (*answer.headers, _header(tag))
    return answer


def _header(tag: bytes) -> Header:
    return (b"etag", tag)
