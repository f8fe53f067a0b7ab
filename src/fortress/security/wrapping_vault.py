"""Keys wrapped by a Transit key of HashiCorp Vault or OpenBao.

The Transit key is made with `derived=true`, so that Vault derives another key for each context and a wrapped key that
is moved can't be opened. The id of a wrapping key is `vault:<mount>/<name>:v<version>`: a rotation in Vault gives a new one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from pydantic import SecretStr

from fortress.errors import CannotStart
from fortress.security.keyservice import PATIENCE, Line, Patience, ServiceAway, loaded, private_address
from fortress.security.wrapping import Unreadable, WrappedKey

if TYPE_CHECKING:
    import httpx

VAULT: Final = "vault"
_BLOB: Final = re.compile(rb"vault:(v[1-9][0-9]{0,9}):[A-Za-z0-9+/=]{1,8192}")
_OK: Final = 200
_REFUSED: Final = 400
_TRY_AGAIN: Final = {412, 429, 472, 473, 500, 502, 503, 504}
_CONNECTIONS: Final = 16


class TransitKey(msgspec.Struct, frozen=True):
    """Where a Transit key is: Vault's address, the engine's mount, the key's name, the namespace if any."""

    address: str
    mount: str
    name: str
    namespace: str = ""

    @property
    def family(self) -> str:
        """What the ids of all its versions begin with."""
        return f"{VAULT}:{self.mount}/{self.name}:"

    def path(self, action: str) -> str:
        return f"/v1/{quote(self.mount)}/{action}/{quote(self.name, safe='')}"


def transit_key(text: str, namespace: str = "") -> TransitKey:
    """The key of `https://host[:port]/mount/name`.

    Raises:
        CannotStart: it is something else.
    """
    parts = urlsplit(private_address(text))
    mount, _, name = parts.path.strip("/").rpartition("/")
    if not mount or not name:
        raise CannotStart("FORTRESS_WRAPPING_KEY: a Transit key is vault:https://host/mount/name")
    return TransitKey(f"{parts.scheme}://{parts.netloc}", mount, name, namespace)


class VaultWrapping:
    """Keys wrapped by Vault.

    Args:
        key: the Transit key.
        client: to Vault's address; `open_vault` makes one.
        away: what it raises when Vault is not reached.
        patience: how long Vault may take.
    """

    def __init__(
        self, key: TransitKey, client: httpx.AsyncClient, away: tuple[type[Exception], ...], patience: Patience = PATIENCE
    ) -> None:
        self._key = key
        self._client = client
        self._away = away
        self._line = Line(patience)
        self._current = ""

    def __repr__(self) -> str:
        return f"VaultWrapping({self._current or self._key.family})"

    @property
    def current(self) -> str:
        return self._current

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        found = await self._line.answer(lambda: self._post("encrypt", {"plaintext": _text(key), "context": _text(context)}))
        blob = str(found.get("ciphertext", "")).encode()
        self._current = self._id(blob)
        return WrappedKey(self._current, blob)

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        if wrapped.key_id != self._id(wrapped.blob):
            raise Unreadable
        body = {"ciphertext": wrapped.blob.decode("ascii"), "context": _text(context)}
        found = await self._line.answer(lambda: self._post("decrypt", body))
        try:
            return base64.b64decode(str(found.get("plaintext", "")), validate=True)
        except ValueError:
            raise Unreadable from None

    def _id(self, blob: bytes) -> str:
        """The id of the version that a blob names."""
        match = _BLOB.fullmatch(blob)
        if match is None:
            raise Unreadable
        return self._key.family + match[1].decode("ascii")

    async def _post(self, action: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._client.post(self._key.path(action), content=msgspec.json.encode(body))
        except self._away as error:
            raise ServiceAway(type(error).__name__) from None
        if answer.status_code == _REFUSED and action == "decrypt":
            raise Unreadable
        if answer.status_code != _OK:
            raise ServiceAway(f"status {answer.status_code}", lasting=answer.status_code not in _TRY_AGAIN)
        try:
            return msgspec.json.decode(answer.content, type=_Answer).data
        except msgspec.MsgspecError:
            raise ServiceAway("an answer that is not Vault's", lasting=True) from None


class _Answer(msgspec.Struct):
    data: dict[str, Any]


@asynccontextmanager
async def open_vault(key: TransitKey, token: SecretStr | None, patience: Patience = PATIENCE) -> AsyncIterator[VaultWrapping]:
    """A connection to Vault; without a token, an agent at the address adds its own.

    Raises:
        CannotStart: httpx is not installed.
    """
    httpx = await loaded("httpx", "vault")
    headers = {"content-type": "application/json", "x-vault-request": "true"}
    if token is not None:
        headers["x-vault-token"] = token.get_secret_value()
    if key.namespace:
        headers["x-vault-namespace"] = key.namespace
    client = httpx.AsyncClient(
        base_url=key.address,
        headers=headers,
        timeout=patience.seconds,
        limits=httpx.Limits(max_connections=_CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
    )
    async with client:
        yield VaultWrapping(key, client, (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError), patience)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
