"""Everything that can go wrong, as one tree.

    FortressError
    ├── CannotStart            configuration, schema or rule; shown as one clear line
    │   └── BrokenRules        several rules at once, each with its place
    └── Refusal                an answer other than success; rendered by http/problems
        ├── BadRequest         400  the request is not well-formed
        ├── Unauthenticated    401  nobody, or nobody any more
        ├── Forbidden          403  known, but not allowed
        ├── NotFound           404  not there, or not for this caller
        ├── MethodNotAllowed   405
        ├── NotAcceptable      406
        ├── RequestTimeout     408
        ├── Conflict           409  the state of things forbids it
        │   └── StaleVersion        somebody changed it in between
        ├── Gone               410
        ├── TooLarge           413
        ├── UnsupportedMedia   415
        ├── Invalid            422  the input is understood and wrong; names every field
        ├── TooManyRequests    429
        ├── HeadersTooLarge    431
        └── Unavailable        503  try again later

A domain's own errors subclass one of these, set `code`, and let their docstring's first line be the title.
What is not a Refusal is a fault: logged in full, answered as a bare 500.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class FortressError(Exception):
    """The root of every error that Fortress raises on purpose."""


class CannotStart(FortressError):
    """Fortress can't start or go on with what it was given.

    Args:
        problem: one line, what is wrong.
        hint: one line, what to do about it.
    """

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class BrokenRule(msgspec.Struct, frozen=True):
    """One breach of one rule: its id, what breaks it, where, and why it matters."""

    rule: str
    what: str
    where: str
    why: str


class BrokenRules(CannotStart):
    """Rules are broken; nothing is served until they hold."""

    def __init__(self, breaches: Sequence[BrokenRule]) -> None:
        count = len(breaches)
        said = "1 rule is broken" if count == 1 else f"{count} rules are broken"
        super().__init__(f"{said}; not starting.")
        self.breaches = tuple(breaches)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field: `field` is a JSON pointer (RFC 6901) into the body, or `?name` of the query."""

    field: str
    message: str
    code: str


class Refusal(FortressError):
    """An answer other than success.

    Args:
        detail: for people; never holds anything internal or secret.
        headers: extra response headers, as lower-case name and value.
        data: further members of the problem document, by name.

    Attributes:
        cookies: `Set-Cookie` headers that go out with it, whatever it looks like.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or f"{self.title}."
        self.headers = headers or {}
        self.data = data or {}
        self.cookies: Sequence[tuple[bytes, bytes]] = ()


class BadRequest(Refusal):
    status, code, title = 400, "request.malformed", "The request is malformed"


class Unauthenticated(Refusal):
    status, code, title = 401, "auth.required", "Sign in first"


class Forbidden(Refusal):
    status, code, title = 403, "auth.forbidden", "This is not allowed for you"


class NotFound(Refusal):
    status, code, title = 404, "request.not_found", "There is nothing here"


class MethodNotAllowed(Refusal):
    status, code, title = 405, "request.method_not_allowed", "This method is not allowed here"


class NotAcceptable(Refusal):
    status, code, title = 406, "request.not_acceptable", "No acceptable representation"


class RequestTimeout(Refusal):
    status, code, title = 408, "request.timeout", "The request took too long to arrive"


class Conflict(Refusal):
    status, code, title = 409, "request.conflict", "The present state forbids it"


class StaleVersion(Conflict):
    code, title = "request.stale_version", "It was changed in between; read it again"


class Gone(Refusal):
    status, code, title = 410, "request.gone", "This has ended"


class PreconditionFailed(Refusal):
    status, code, title = 412, "precondition.failed", "It was changed since you have read it"


class PreconditionRequired(Refusal):
    status, code, title = 428, "precondition.required", "This change needs If-Match"


class TooLarge(Refusal):
    status, code, title = 413, "request.too_large", "The body is too large"


class UnsupportedMedia(Refusal):
    status, code, title = 415, "request.unsupported_media_type", "This media type is not supported"


class Invalid(Refusal):
    """The input is understood and wrong. All errors at once, never only the first."""

    status, code, title = 422, "request.invalid", "The input is not valid"

    def __init__(self, errors: Sequence[FieldError], detail: str | None = None) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class TooManyRequests(Refusal):
    status, code, title = 429, "limit.exceeded", "Too many requests"

    def __init__(self, retry_after: int, detail: str | None = None) -> None:
        super().__init__(detail, headers={"retry-after": str(max(1, retry_after))})


class HeadersTooLarge(Refusal):
    status, code, title = 431, "request.headers_too_large", "The request's head is too large"


class Unavailable(Refusal):
    status, code, title = 503, "service.unavailable", "Not available just now"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"retry-after": str(max(1, retry_after))})
