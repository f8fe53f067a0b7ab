"""Keys wrapped by a symmetric key of AWS KMS.

The id of a wrapping key is `awskms:<its ARN>`. KMS may renew a key's material under the same ARN and opens what the old
material wrapped; another key, or an alias that points to another one, gives a new id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from fortress.errors import CannotStart
from fortress.security.encoding import to_base64url
from fortress.security.keyservice import PATIENCE, Line, Patience, ServiceAway, loaded, private_address
from fortress.security.wrapping import Unreadable, WrappedKey

AWS: Final = "awskms"
ALIAS: Final = "alias/"
_ARN: Final = re.compile(r"(arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:)(key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,250})")
_ALIAS: Final = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}")
_UNREADABLE: Final = {"InvalidCiphertextException", "IncorrectKeyException", "NotFoundException", "KMSInvalidStateException"}
# KMS refuses by one code both what no key of ours wrapped and what our role may not do; only the latter says this.
_NOT_ALLOWED: Final = "not authorized"
_PASSING: Final = {"ThrottlingException", "KMSInternalException", "DependencyTimeoutException", "InternalFailure", "ServiceUnavailable"}
_SERVER_FAULT: Final = 500
_LARGEST_BLOB: Final = 6144
_CONNECTIONS: Final = 16


class KmsKey(msgspec.Struct, frozen=True):
    """Which key of KMS: an ARN or an alias, the region, and an endpoint when it is not AWS's own."""

    id: str
    region: str
    endpoint: str | None = None


def kms_key(text: str, region: str = "", endpoint: str = "") -> KmsKey:
    """The key of an ARN, or of `alias/name` and a region.

    Raises:
        CannotStart: it is neither, or an alias without a region.
    """
    arn = _ARN.fullmatch(text)
    if arn is None and not (_ALIAS.fullmatch(text) and region):
        raise CannotStart("FORTRESS_WRAPPING_KEY: a key of KMS is awskms:<ARN>, or awskms:alias/<name>?region=<region>")
    return KmsKey(text, region or (arn[2] if arn else ""), private_address(endpoint) if endpoint else None)


class KmsWrapping:
    """Keys wrapped by AWS KMS: the configured key wraps, every key of the same account and region that KMS lets us use unwraps.

    One that was configured by an alias knows its account from the first key it wraps, and unwraps nothing before.

    Args:
        key: the key that wraps.
        client: an aiobotocore client of KMS, which does not retry by itself; `open_kms` makes one.
        away: what it raises when KMS is not reached.
        refused: what it raises when KMS says no.
        patience: how long KMS may take.
    """

    def __init__(self, key: KmsKey, client: Any, *, away: type[Exception], refused: type[Exception], patience: Patience = PATIENCE) -> None:
        self._key = key
        self._client = client
        self._away, self._refused = away, refused
        self._line = Line(patience)
        self._current = ""

    def __repr__(self) -> str:
        return f"KmsWrapping({self._current or self._key.id})"

    @property
    def current(self) -> str:
        return self._current

    async def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        sent = {"KeyId": self._key.id, "Plaintext": key, "EncryptionContext": _bound(context)}
        found = await self._line.answer(lambda: self._ask("encrypt", sent))
        self._current = f"{AWS}:{found['KeyId']}"
        return WrappedKey(self._current, found["CiphertextBlob"])

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        kind, _, arn = wrapped.key_id.partition(":")
        if kind != AWS or not self._ours(arn) or not 0 < len(wrapped.blob) <= _LARGEST_BLOB:
            raise Unreadable
        sent = {"KeyId": arn, "CiphertextBlob": wrapped.blob, "EncryptionContext": _bound(context)}
        found = await self._line.answer(lambda: self._ask("decrypt", sent))
        # Whoever can write a row could name any key that KMS lets us use; what opened it must be the one that is named.
        if found["KeyId"] != arn:
            raise Unreadable
        return bytes(found["Plaintext"])

    def _ours(self, arn: str) -> bool:
        """Of the account and region of the key that wraps, so that nobody has us ask a key of their own."""
        named, own = _ARN.fullmatch(arn), _ARN.fullmatch(self._current.partition(":")[2] or self._key.id)
        return named is not None and own is not None and named[1] == own[1]

    async def _ask(self, operation: str, sent: dict[str, Any]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await getattr(self._client, operation)(**sent)
        except self._refused as error:
            raise _meant(error, operation) from None
        except self._away as error:
            raise ServiceAway(type(error).__name__) from None
        return found


@asynccontextmanager
async def open_kms(key: KmsKey, patience: Patience = PATIENCE) -> AsyncIterator[KmsWrapping]:
    """A client of KMS; its credentials come from the usual chain (environment, profile, role of the machine).

    Raises:
        CannotStart: aiobotocore is not installed.
    """
    session, config = await loaded("aiobotocore.session", "aws"), await loaded("aiobotocore.config", "aws")
    errors = await loaded("botocore.exceptions", "aws")
    wishes = config.AioConfig(
        connect_timeout=patience.seconds,
        read_timeout=patience.seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=_CONNECTIONS,
    )
    making = session.get_session().create_client("kms", region_name=key.region, endpoint_url=key.endpoint, config=wishes)
    async with making as client:
        yield KmsWrapping(key, client, away=errors.BotoCoreError, refused=errors.ClientError, patience=patience)


def _meant(error: Any, operation: str) -> Exception:
    said, code = error.response["Error"].get("Message", ""), error.response["Error"].get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if operation == "decrypt" and (code in _UNREADABLE or (code == "AccessDeniedException" and _NOT_ALLOWED not in said)):
        return Unreadable()
    return ServiceAway(code, lasting=code not in _PASSING and status < _SERVER_FAULT)


def _bound(context: bytes) -> dict[str, str]:
    # KMS writes the encryption context into its log in clear: a digest says as much to KMS and nothing to the log's readers.
    return {"fortress": to_base64url(hashlib.sha256(context).digest())}
