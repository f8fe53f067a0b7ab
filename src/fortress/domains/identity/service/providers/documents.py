"""What an issuer publishes of itself: its addresses and its keys, asked for rarely and believed for an hour.

OpenID Connect Discovery 1.0 §3 and §4.3: the issuer in the metadata is the one that was asked for, letter by letter
(ASVS V10.5.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from fortress.clock import Clock
from fortress.domains.identity.contract import ProviderUnavailable
from fortress.domains.identity.service.providers.kinds import Provider
from fortress.domains.identity.service.providers.outward import Outward
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted
from fortress.settings import is_private_way

T = TypeVar("T")
FRESH_SECONDS: Final = 3600.0
AWAY_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 60.0
_MOST_KEYS: Final = 100


class Metadata(msgspec.Struct, frozen=True):
    """What we use of an issuer's metadata.

    Attributes:
        authorization_response_iss_parameter_supported: whether it names itself in its answers (RFC 9207).
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str = ""
    userinfo_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.authorization_endpoint, self.token_endpoint, self.jwks_uri, self.userinfo_endpoint)))


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]


class _Kept(msgspec.Struct, frozen=True):
    value: Any
    at: float


class Documents:
    """The metadata and keys of one provider.

    Args:
        provider: whose.
        outward: asks for them.
        clock: decides how old they are.
    """

    def __init__(self, provider: Provider, outward: Outward, clock: Clock) -> None:
        self._provider = provider
        self._outward = outward
        self._clock = clock
        self._asking = asyncio.Lock()
        self._metadata: _Kept | None = None
        self._keys: _Kept | None = None
        self._away: _Kept | None = None

    async def metadata(self) -> Metadata:
        """Where the provider is asked for what.

        Raises:
            ProviderUnavailable: it does not answer.
            Untrusted: its metadata is another issuer's, or leads over open ways.
        """
        kind = self._provider.kind
        if not self._provider.openid:
            return Metadata(kind.issuer, kind.authorization, kind.token)
        async with self._asking:
            if self._metadata is None or self._old(self._metadata, FRESH_SECONDS):
                self._metadata = _Kept(await self._read_metadata(), self._clock.monotonic())
            found: Metadata = self._metadata.value
            return found

    async def keys(self, kid: str | None) -> Sequence[dict[str, Any]]:
        """The keys of this id, or all of them where none is named.

        An id that is not there makes us look again, though not within a minute of the last look: a flood of made-up ids
        is no flood to the provider.

        Raises:
            ProviderUnavailable: it does not answer.
            Untrusted: what it publishes are no keys.
        """
        uri = (await self.metadata()).jwks_uri
        async with self._asking:
            if self._keys is None or self._old(self._keys, FRESH_SECONDS):
                self._keys = await self._read_keys(uri)
            found = _named(self._keys, kid)
            if not found and self._old(self._keys, RELOAD_SECONDS):
                self._keys = await self._read_keys(uri)
                found = _named(self._keys, kid)
        return found

    def _old(self, kept: _Kept, seconds: float) -> bool:
        return self._clock.monotonic() - kept.at >= seconds

    async def _read(self, url: str, kind: type[T]) -> T:
        """What is published there. A provider that has just not answered is left alone: whoever waits here would wait in a row."""
        if self._away is not None and not self._old(self._away, AWAY_SECONDS):
            raise ProviderUnavailable
        try:
            return await self._outward.get(url, kind)
        except ProviderUnavailable:
            self._away = _Kept(None, self._clock.monotonic())
            raise

    async def _read_metadata(self) -> Metadata:
        found = await self._read(self._provider.kind.metadata, Metadata)
        if found.issuer != self._provider.issuer:
            raise Untrusted(Fault.METADATA_ISSUER)
        if not found.jwks_uri or not all(map(is_private_way, found.addresses)):
            raise Untrusted(Fault.ADDRESS)
        return found

    async def _read_keys(self, uri: str) -> _Kept:
        found = await self._read(uri, _KeySet)
        if len(found.keys) > _MOST_KEYS:
            raise Untrusted(Fault.KEYS)
        return _Kept(found.keys, self._clock.monotonic())


def _named(kept: _Kept, kid: str | None) -> Sequence[dict[str, Any]]:
    return [key for key in kept.value if kid is None or key.get("kid") == kid]
