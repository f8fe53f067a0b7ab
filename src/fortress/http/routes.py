"""Route decorators. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from fortress.errors import Refusal
from fortress.limits.policy import Limit
from fortress.security.permissions import Allow

Handler = Callable[..., Awaitable[Any]]
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Policy(TypedDict):
    """What a route says of itself.

    Keys:
        allow: the permission that a caller needs, or PUBLIC.
        limit: how often a caller may.
        since, until: the first and last API version that serve it; without `until` it goes on.
        deprecated, sunset: for a route with `until`: since when it is discouraged, when it stops (RFC 9745, RFC 8594).
        errors: the refusals of its own that a client should expect, for the OpenAPI document.
        max_body: bytes that its body may have, when that is less than the setting.
        fresh: how long ago the caller may have proved who they are: `minutes(5)` (ASVS V7.5.3).
        idempotent: for a POST: whether a caller may send an Idempotency-Key, so that what is asked for twice is done once.
        etag: whether answers carry a digest as their entity tag; those of versioned entities carry the version by themselves.
        precondition: whether a change needs If-Match, because it would overwrite what its caller has not seen (RFC 6585).
        sparse: whether `?fields=` may have fields of the answer left out.
        factor: 2 for what needs a session with a second factor.
    """

    allow: Allow
    limit: Limit
    since: NotRequired[int]
    until: NotRequired[int]
    deprecated: NotRequired[date]
    sunset: NotRequired[date]
    errors: NotRequired[Sequence[type[Refusal]]]
    max_body: NotRequired[int]
    fresh: NotRequired[timedelta]
    factor: NotRequired[Literal[1, 2]]
    idempotent: NotRequired[bool]
    etag: NotRequired[bool]
    precondition: NotRequired[bool]
    sparse: NotRequired[bool]


class Route:
    """A handler with its path and policy.

    Attributes:
        policy: as given. May lack what the type demands when the type checker was not asked; the start refuses that.
        versioned: False only for the runtime's own addresses (health, docs, keys).
    """

    __slots__ = ("handler", "path", "policy", "verb", "versioned")

    def __init__(self, verb: Verb, path: str, handler: Handler, policy: Policy, *, versioned: bool = True) -> None:
        self.verb = verb
        self.path = path
        self.handler = handler
        self.policy = policy
        self.versioned = versioned

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def place(self) -> str:
        """File and line of the handler, for people."""
        code = inspect.unwrap(self.handler).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def __repr__(self) -> str:
        return f"<Route {self.verb} {self.path} ({self.place})>"


Decorator = Callable[[Handler], Route]


def minutes(count: float) -> timedelta:
    """So many minutes; how `fresh` reads."""
    return timedelta(minutes=count)


def get(path: str, **policy: Unpack[Policy]) -> Decorator:
    """Read; answers HEAD too."""
    return lambda handler: Route("GET", path, handler, policy)


def post(path: str, **policy: Unpack[Policy]) -> Decorator:
    """Create, or act."""
    return lambda handler: Route("POST", path, handler, policy)


def put(path: str, **policy: Unpack[Policy]) -> Decorator:
    """Replace."""
    return lambda handler: Route("PUT", path, handler, policy)


def patch(path: str, **policy: Unpack[Policy]) -> Decorator:
    """Change some members (RFC 7396)."""
    return lambda handler: Route("PATCH", path, handler, policy)


def delete(path: str, **policy: Unpack[Policy]) -> Decorator:
    """Remove."""
    return lambda handler: Route("DELETE", path, handler, policy)


def own_address(verb: Verb, path: str, **policy: Unpack[Policy]) -> Decorator:
    """The runtime's own addresses, outside any version: health, docs, keys. Not for domains."""
    return lambda handler: Route(verb, path, handler, policy, versioned=False)
