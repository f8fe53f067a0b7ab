"""Who asks: credentials are found, looked up in the cache of verified callers, and verified when they are new.

A scheme says how credentials are carried. A project may replace or add schemes; it can't skip them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from fortress.errors import BadRequest, Unauthenticated
from fortress.http.request import Request
from fortress.security.principal import ANONYMOUS, Principal

MAX_CREDENTIALS = 4096


class Verifier(Protocol):
    """Turns credentials of one kind into a principal."""

    def known(self, credentials: str) -> Principal | None:
        """The caller, if these credentials were verified lately and nothing can have been revoked since. No I/O."""
        ...

    async def verify(self, credentials: str) -> Principal:
        """The caller.

        Raises:
            Unauthenticated: always the same, whatever is wrong.
        """
        ...


class Scheme(Protocol):
    """How credentials of one kind are carried."""

    verifier: Verifier

    def find(self, request: Request) -> str | None:
        """The credentials of this kind that came with the request, if any."""
        ...


class Bearer:
    """`Authorization: Bearer …` (RFC 6750 §2.1); never the query string (ASVS V14.2.1)."""

    prefix: ClassVar[bytes] = b"bearer "

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def find(self, request: Request) -> str | None:
        value = request.head.get(b"authorization")
        if value is None:
            return None
        if value[:7].lower() != self.prefix or len(value) > MAX_CREDENTIALS:
            raise InvalidCredentials
        return value[7:].decode("latin-1").strip()


class HeaderKey:
    """A key in a header of its own."""

    def __init__(self, verifier: Verifier, header: str = "x-api-key") -> None:
        self.verifier = verifier
        self._header = header.lower().encode()

    def find(self, request: Request) -> str | None:
        value = request.head.get(self._header)
        if value is None:
            return None
        if len(value) > MAX_CREDENTIALS:
            raise InvalidCredentials
        return value.decode("latin-1")


class InvalidCredentials(Unauthenticated):
    """What was presented is not valid, or not any more."""

    code, title = "auth.invalid_token", "These credentials are not valid"

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": 'Bearer error="invalid_token"'})


class NoCredentials(Unauthenticated):
    """Nothing was presented."""

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": "Bearer"})


class Identify:
    """Finds out who asks."""

    def __init__(self, schemes: Sequence[Scheme]) -> None:
        self._schemes = tuple(schemes)

    def known(self, request: Request) -> Principal | None:
        """The caller without any I/O; None: `verify` must be asked.

        Raises:
            Unauthenticated: the credentials are malformed.
            BadRequest: credentials of two kinds at once.
        """
        scheme, credentials = self._find(request)
        return ANONYMOUS if scheme is None else scheme.verifier.known(credentials)

    async def verify(self, request: Request) -> Principal:
        """The caller, verified in full. Raises as `known` does, and Unauthenticated when the verifier says no."""
        scheme, credentials = self._find(request)
        if scheme is None:
            return ANONYMOUS
        try:
            return await scheme.verifier.verify(credentials)
        except Unauthenticated:
            raise InvalidCredentials from None

    def _find(self, request: Request) -> tuple[Scheme | None, str]:
        found: tuple[Scheme | None, str] = (None, "")
        for scheme in self._schemes:
            credentials = scheme.find(request)
            if credentials is None:
                continue
            if found[0] is not None:
                raise BadRequest("Send one kind of credentials, not two.")
            found = (scheme, credentials)
        return found
