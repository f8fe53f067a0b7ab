"""WebAuthn's ceremonies as this site holds them: with which names, for which pages, and off the event loop."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog

from fortress.domains.identity.contract import PasskeysUnavailable
from fortress.errors import CannotStart
from fortress.security.encoding import from_base64url
from fortress.settings import Settings, is_here, is_private_way

_LIBRARY: Final = "fortress.domains.identity.service.relying_party"
_log = structlog.get_logger("fortress.passkeys")


class Refused(Exception):
    """A credential or its answer is not what it should be. What is wrong is for no client to know."""


class Site(msgspec.Struct, frozen=True):
    """Who asks.

    Attributes:
        id: the RP ID: a domain, to which the passkeys are bound for good.
        origins: whose pages may use them.
    """

    id: str
    name: str
    origins: tuple[str, ...]


class WhoIsAsked(msgspec.Struct, frozen=True):
    """Whose passkey it will be: a random handle, and what their device shows them."""

    handle: bytes
    name: str
    title: str

    def __repr__(self) -> str:
        return "WhoIsAsked(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class KnownCredential(msgspec.Struct, frozen=True):
    """A passkey, as browsers find it."""

    id: bytes
    transports: tuple[str, ...]


class NewCredential(msgspec.Struct, frozen=True):
    """What a device has made: see models.Passkey."""

    id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    synced: bool
    backed_up: bool


class Assertion(msgspec.Struct, frozen=True):
    """What a passkey said of itself when it signed."""

    sign_count: int
    synced: bool
    backed_up: bool


class Ceremonies:
    """Makes the questions and checks the answers.

    Raises:
        CannotStart: FORTRESS_PASSKEY_ORIGINS names what is not https, or no part of the public address' domain.
    """

    def __init__(self, settings: Settings) -> None:
        self._site = site_of(settings)
        self._loading = asyncio.Lock()
        self._library: ModuleType | None = None

    async def creation(self, asked: WhoIsAsked, challenge: str, known: Sequence[KnownCredential]) -> dict[str, Any]:
        """What a browser's `navigator.credentials.create` is given. Raises PasskeysUnavailable."""
        library = await self._loaded()
        options: dict[str, Any] = library.creation_options(self._site, asked, from_base64url(challenge), known)
        return options

    async def request(self, challenge: str, known: Sequence[KnownCredential] = ()) -> dict[str, Any]:
        """What a browser's `navigator.credentials.get` is given. Raises PasskeysUnavailable."""
        library = await self._loaded()
        options: dict[str, Any] = library.request_options(self._site, from_base64url(challenge), known)
        return options

    async def registered(self, credential: Mapping[str, Any], challenge: str) -> NewCredential:
        """The new credential. Raises Refused and PasskeysUnavailable."""
        library = await self._loaded()
        made: NewCredential = await asyncio.to_thread(library.verify_registration, self._site, credential, from_base64url(challenge))
        return made

    async def asserted(self, credential: Mapping[str, Any], challenge: str, public_key: bytes) -> Assertion:
        """What the credential signed. Raises Refused and PasskeysUnavailable."""
        library = await self._loaded()
        signed: Assertion = await asyncio.to_thread(library.verify_assertion, self._site, credential, from_base64url(challenge), public_key)
        return signed

    async def _loaded(self) -> ModuleType:
        async with self._loading:
            if self._library is None:
                try:
                    self._library = await asyncio.to_thread(importlib.import_module, _LIBRARY)
                except ImportError:
                    _log.error("passkeys.not_installed", hint="pip install 'fortress[passkeys]'")
                    raise PasskeysUnavailable from None
        return self._library


def site_of(settings: Settings) -> Site:
    """Who this site is to passkeys. Raises CannotStart."""
    parts = urlsplit(settings.origin)
    host = parts.hostname or ""
    # An address is no domain, so a development server's passkeys are localhost's.
    id = "localhost" if is_here(host) else host
    own = f"{parts.scheme}://{id}" + (f":{parts.port}" if parts.port else "")
    for origin in settings.passkey_origins:
        _refuse_foreign(origin, id)
    return Site(id, settings.site, settings.passkey_origins or (own,))


def challenge_in(credential: Mapping[str, Any]) -> str:
    """The challenge that a credential says it answers; nothing is checked of it yet. Raises Refused."""
    try:
        return msgspec.json.decode(from_base64url(credential["response"]["clientDataJSON"]), type=_Answered).challenge
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError):
        raise Refused from None


class _Answered(msgspec.Struct):
    challenge: str


def _refuse_foreign(origin: str, id: str) -> None:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if not is_private_way(origin) or parts.path or parts.query or not (host == id or host.endswith(f".{id}")):
        raise CannotStart(f"FORTRESS_PASSKEY_ORIGINS: {origin} is no origin of {id}", hint=f"https://{id} or https://app.{id}")
