"""Who asks: credentials are found, looked up in the cache of verified callers, and verified when they are new.

A scheme says how credentials are carried. A project may replace or add schemes; it can't skip them.

What a client says with a header of its own wins over what its browser adds to every request: a page that names its
credentials means those, good or bad, and nobody can make another site's page name them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar, Protocol, runtime_checkable

from fortress.errors import BadRequest, Forbidden, Unauthenticated
from fortress.http.cookies import SessionCookies, read_cookie
from fortress.http.csrf import Csrf
from fortress.http.request import Request
from fortress.security.outsiders import Outsiders
from fortress.security.principal import ANONYMOUS, Network, Principal

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


@runtime_checkable
class Ambient(Scheme, Protocol):
    """A scheme whose credentials a browser adds by itself, whoever made it send the request."""

    def admit(self, request: Request, caller: Principal) -> None:
        """Raises Forbidden when nothing shows that the caller wanted this request."""
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


class Cookie:
    """An access token in a cookie, with what shows that a page of ours sent it (ASVS V3.5.1, V3.5.8)."""

    def __init__(self, verifier: Verifier, cookies: SessionCookies, csrf: Csrf) -> None:
        self.verifier = verifier
        self._name = cookies.access
        self._csrf = csrf

    def find(self, request: Request) -> str | None:
        value = read_cookie(request, self._name)
        if value is None:
            return None
        self._csrf.check_site(request)
        if len(value) > MAX_CREDENTIALS:
            raise InvalidCredentials
        return value

    def admit(self, request: Request, caller: Principal) -> None:
        if caller.session is not None:
            self._csrf.check_token(request, caller.session)


class InvalidCredentials(Unauthenticated):
    """What was presented is not valid, or not any more."""

    code, title = "auth.invalid_token", "These credentials are not valid"

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": 'Bearer error="invalid_token"'})


class NoCredentials(Unauthenticated):
    """Nothing was presented."""

    def __init__(self) -> None:
        super().__init__(headers={"www-authenticate": "Bearer"})


class AddressNotAllowed(Forbidden):
    """The credentials are good, but not to be used from this address."""

    code, title = "auth.address_not_allowed", "These credentials can't be used from this address"


class Identify:
    """Finds out who asks.

    Args:
        schemes: how credentials are carried; of those that are not Ambient, one at most may come.
        outsiders: told of credentials that were used from where they must not be.
    """

    def __init__(self, schemes: Sequence[Scheme], outsiders: Outsiders) -> None:
        self._explicit = tuple(scheme for scheme in schemes if not isinstance(scheme, Ambient))
        self._ambient = tuple(scheme for scheme in schemes if isinstance(scheme, Ambient))
        self._outsiders = outsiders

    def known(self, request: Request) -> Principal | None:
        """The caller without any I/O; None: `verify` must be asked.

        Raises:
            Unauthenticated: the credentials are malformed.
            Forbidden: another site's page sent them, or they came from an address that they are not for.
            BadRequest: credentials of two kinds at once.
        """
        scheme, credentials = self._find(request)
        if scheme is None:
            return ANONYMOUS
        caller = scheme.verifier.known(credentials)
        return None if caller is None else self._admitted(request, scheme, caller)

    async def verify(self, request: Request) -> Principal:
        """The caller, verified in full. Raises as `known` does, and Unauthenticated when the verifier says no."""
        scheme, credentials = self._find(request)
        if scheme is None:
            return ANONYMOUS
        try:
            caller = await scheme.verifier.verify(credentials)
        except Unauthenticated:
            raise InvalidCredentials from None
        return self._admitted(request, scheme, caller)

    def _admitted(self, request: Request, scheme: Scheme, caller: Principal) -> Principal:
        """The caller, remembered or not, if this very request may be theirs."""
        if caller.networks and not is_within(request.context.address, caller.networks):
            self._outsiders.note(caller)
            raise AddressNotAllowed
        for ambient in self._ambient:
            if ambient is scheme:
                ambient.admit(request, caller)
        return caller

    def _find(self, request: Request) -> tuple[Scheme | None, str]:
        found = self._one_of(self._explicit, request)
        return found if found[0] is not None else self._one_of(self._ambient, request)

    def _one_of(self, schemes: Sequence[Scheme], request: Request) -> tuple[Scheme | None, str]:
        found: tuple[Scheme | None, str] = (None, "")
        for scheme in schemes:
            credentials = scheme.find(request)
            if credentials is None:
                continue
            if found[0] is not None:
                raise BadRequest("Send one kind of credentials, not two.")
            found = (scheme, credentials)
        return found


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address, as TrustedProxies tells it, is in one of these networks; what is no address is in none."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=4096)
def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """The same few programs call again and again."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed
