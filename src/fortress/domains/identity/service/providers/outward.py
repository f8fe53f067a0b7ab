"""Asking a provider: in time, within bounds, never further than where it was asked (ASVS V15.3.2; API10)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from fortress.domains.identity.contract import ProviderUnavailable
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted
from fortress.settings import is_private_way

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
SECONDS: Final = 5.0
LARGEST: Final = 256 * 1024
_CONNECTIONS: Final = 16
_OK: Final = 200
_REFUSED: Final = frozenset((400, 401, 403))
_LATER: Final = 500
_TOO_MANY: Final = 429
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "fortress"}


class Outward:
    """Asks providers. What it can't use becomes one of two errors, and nothing of an answer is in either.

    Args:
        seconds: that one question may take in all.
        largest: bytes that one answer may have.
    """

    def __init__(self, seconds: float = SECONDS, largest: int = LARGEST) -> None:
        self._seconds = seconds
        self._largest = largest
        self._loading = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._away: tuple[type[Exception], ...] = ()

    async def get(self, url: str, kind: type[T], headers: Mapping[str, str] | None = None) -> T:
        """What is there, as `kind`.

        Raises:
            ProviderUnavailable: no answer in time, or one that says so.
            Untrusted: an answer that can't be used.
        """
        return await self._ask("GET", url, kind, headers or {}, None)

    async def post(self, url: str, kind: type[T], headers: Mapping[str, str], body: str) -> T:
        """The answer to a form, as `kind`. Raises as `get` does."""
        return await self._ask("POST", url, kind, headers, body.encode())

    async def _ask(self, method: str, url: str, kind: type[T], headers: Mapping[str, str], body: bytes | None) -> T:
        if not is_private_way(url):
            raise Untrusted(Fault.ADDRESS)
        client = await self._ready()
        try:
            async with asyncio.timeout(self._seconds):
                status, content = await self._exchange(client, method, url, {**headers, **_HEADERS}, body)
        except TimeoutError:
            raise ProviderUnavailable from None
        except self._away:
            raise ProviderUnavailable from None
        if status >= _LATER or status == _TOO_MANY:
            raise ProviderUnavailable
        if status in _REFUSED:
            raise Untrusted(Fault.REFUSED)
        if status != _OK:
            raise Untrusted(Fault.STATUS)
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Untrusted(Fault.DOCUMENT) from None

    async def _exchange(
        self, client: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        async with client.stream(method, url, headers=headers, content=body) as answer:
            if answer.status_code != _OK:
                return answer.status_code, b""
            if answer.headers.get("content-encoding", "identity") != "identity":
                # A few bytes could unfold to any number.
                raise Untrusted(Fault.DOCUMENT)
            content = bytearray()
            async for part in answer.aiter_raw():
                content += part
                if len(content) > self._largest:
                    raise Untrusted(Fault.DOCUMENT)
            return answer.status_code, bytes(content)

    async def _ready(self) -> httpx.AsyncClient:
        async with self._loading:
            if self._client is None:
                module = await loaded("httpx")
                self._away = (module.HTTPError, module.InvalidURL, module.StreamError)
                self._client = await asyncio.to_thread(_client, module, self._seconds)
        return self._client


def _client(module: Any, seconds: float) -> httpx.AsyncClient:
    """Connections are not kept: people sign in seldom, and so nothing is left to close."""
    limits = module.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    made: httpx.AsyncClient = module.AsyncClient(timeout=seconds, limits=limits, follow_redirects=False, trust_env=False)
    return made


async def loaded(module: str) -> Any:
    """A module that only sign-in with others needs, imported in a thread since it is large; the start saw that it is there."""
    return await asyncio.to_thread(importlib.import_module, module)
