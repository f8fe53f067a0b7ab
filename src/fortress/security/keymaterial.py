"""What a key ring holds, and how it is written down. No secret is ever part of a repr."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NoReturn, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.errors import UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from fortress.errors import CannotStart
from fortress.security.encoding import from_base64url, to_base64url

ALGORITHM: Final = "EdDSA"
SEED_BYTES: Final = 32
MASTER_BYTES: Final = 32
WRAPPING_BYTES: Final = 32
_KID_LENGTH: Final = 16
_WRAPPING_ID_BYTES: Final = 8
_FORMAT: Final = 2
# What releases before the wrapping keys wrote.
_WITHOUT_WRAPPING: Final = 1
_LARGEST_ID: Final = 2**32 - 1
_WRAPPING_ID: Final = re.compile(r"[0-9a-f]{16}")


class KeyMaterial:
    """Secret bytes that show themselves to nobody who does not ask."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "KeyMaterial(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyMaterial) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material is not pickled")


class KeyState(StrEnum):
    """NEXT is known and not used yet; ACTIVE signs or wraps; RETIRED only verifies, until its time is over, or unwraps."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"


class SigningRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signing key as it is kept. `seed` is the private key (RFC 8032 §5.1.5); `until` ends a retired one."""

    kid: str
    alg: str
    state: KeyState
    created: datetime
    until: datetime | None
    seed: KeyMaterial

    def activated(self) -> SigningRecord:
        return msgspec.structs.replace(self, state=KeyState.ACTIVE)

    def retired(self, until: datetime) -> SigningRecord:
        return msgspec.structs.replace(self, state=KeyState.RETIRED, until=until)


class Master(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A master secret as it is kept. The one without `until` is in use."""

    id: int
    created: datetime
    until: datetime | None
    secret: KeyMaterial

    def retired(self, until: datetime) -> Master:
        return msgspec.structs.replace(self, until=until)


class WrappingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that wraps other keys, as it is kept: next while it has not `begun`, retired once it is, and the one in between wraps.

    A retired one still unwraps, and has no end of its own: it stays until nothing is wrapped by it and it is destroyed.
    """

    id: str
    created: datetime
    begun: datetime | None
    retired: datetime | None
    secret: KeyMaterial

    @property
    def state(self) -> KeyState:
        if self.retired is not None:
            return KeyState.RETIRED
        return KeyState.ACTIVE if self.begun is not None else KeyState.NEXT

    def begin(self, at: datetime) -> WrappingRecord:
        return msgspec.structs.replace(self, begun=at)

    def retire(self, at: datetime) -> WrappingRecord:
        return msgspec.structs.replace(self, retired=at)


class RingContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole key ring. One of format 1 has no keys that wrap; the next change gives it one."""

    signing: tuple[SigningRecord, ...]
    masters: tuple[Master, ...]
    wrapping: tuple[WrappingRecord, ...] = ()
    format: int = _FORMAT

    def with_signing(self, signing: tuple[SigningRecord, ...]) -> RingContent:
        return msgspec.structs.replace(self, signing=signing)

    def with_masters(self, masters: tuple[Master, ...]) -> RingContent:
        return msgspec.structs.replace(self, masters=masters)

    def with_wrapping(self, wrapping: tuple[WrappingRecord, ...]) -> RingContent:
        return msgspec.structs.replace(self, wrapping=wrapping)

    def upgraded(self, now: datetime) -> RingContent:
        """The ring in this release's format; itself when it is."""
        if self.format != _WITHOUT_WRAPPING:
            return self
        return msgspec.structs.replace(self, wrapping=self.wrapping or (new_wrapping(now).begin(now),), format=_FORMAT)

    def check(self) -> None:
        """Refuse a ring that can't be used safely.

        Raises:
            CannotStart: one line, naming the key by its id at most.
        """
        broken = _first_fault(self)
        if broken:
            raise CannotStart(f"the key ring is not usable: {broken}", hint="restore it, or make a new one (everyone signs in again)")


Part: TypeAlias = SigningRecord | Master | WrappingRecord


class SigningKey:
    """A signing key ready for use; `alg` is ours and not what a token's header says (ASVS V9.1.2)."""

    __slots__ = ("alg", "created", "jwk", "kid", "registry", "state", "until")

    def __init__(self, record: SigningRecord) -> None:
        self.kid = record.kid
        self.alg = record.alg
        self.state = record.state
        self.created = record.created
        self.until = record.until
        self.jwk = OKPKey.import_key(_private(record.seed), {"kid": record.kid, "use": "sig", "alg": record.alg})
        self.registry: JWSRegistry = OneAlgorithm(record.alg)

    def __repr__(self) -> str:
        return f"SigningKey({self.kid}, {self.state.value})"

    def public_jwk(self) -> dict[str, str]:
        """The public half (RFC 8037 §2)."""
        return {"kty": "OKP", "crv": "Ed25519", "x": _public_text(self.jwk), "kid": self.kid, "use": "sig", "alg": self.alg}


class OneAlgorithm(JWSRegistry):
    """A registry that knows one algorithm, so that nothing in a header can choose another.

    joserfc warns at each use of the name EdDSA, since RFC 9864 prefers Ed25519; clients know the old name everywhere and the new one not.
    """

    def __init__(self, name: str) -> None:
        super().__init__(algorithms=[name])
        self._model = self.algorithms[name]

    def get_alg(self, name: str) -> JWSAlgModel:
        if name != self._model.name:
            raise UnsupportedAlgorithmError("not our algorithm")
        return self._model


def new_signing(state: KeyState, now: datetime) -> SigningRecord:
    """A new Ed25519 key; its id is the start of its thumbprint (RFC 7638)."""
    seed = KeyMaterial(secrets.token_bytes(SEED_BYTES))
    return SigningRecord(kid=_kid(seed), alg=ALGORITHM, state=state, created=now, until=None, seed=seed)


def new_master(id: int, now: datetime) -> Master:
    return Master(id=id, created=now, until=None, secret=KeyMaterial(secrets.token_bytes(MASTER_BYTES)))


def new_wrapping(now: datetime) -> WrappingRecord:
    """A new AES-256 key that does not wrap yet; its id is random, so that none is ever used twice."""
    id = secrets.token_hex(_WRAPPING_ID_BYTES)
    return WrappingRecord(id=id, created=now, begun=None, retired=None, secret=KeyMaterial(secrets.token_bytes(WRAPPING_BYTES)))


def encode_ring(content: RingContent) -> bytes:
    """The ring as JSON, secrets included."""
    return msgspec.json.format(msgspec.json.encode(content, enc_hook=_written)) + b"\n"


def decode_ring(text: bytes) -> RingContent:
    """The ring from its JSON.

    Raises:
        CannotStart: it is not a key ring. The line says where, never what.
    """
    try:
        content: RingContent = msgspec.json.decode(text, type=RingContent, dec_hook=_read)
    except (msgspec.MsgspecError, ValueError, UnicodeDecodeError) as error:
        raise CannotStart(f"the key ring can't be read: {error}") from None
    content.check()
    return content


def _written(value: Any) -> str:
    if isinstance(value, KeyMaterial):
        return to_base64url(value.reveal())
    raise TypeError(f"a key ring holds no {type(value).__name__}")


def _read(wanted: type, value: Any) -> Any:
    if wanted is KeyMaterial and isinstance(value, str):
        return KeyMaterial(from_base64url(value))
    raise ValueError("key material must be base64url")


def _private(seed: KeyMaterial) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed.reveal())


def _public_text(key: OKPKey) -> str:
    return str(key.as_dict(private=False)["x"])


def _kid(seed: KeyMaterial) -> str:
    return OKPKey.import_key(_private(seed)).thumbprint()[:_KID_LENGTH]


def _first_fault(content: RingContent) -> str | None:
    states = [record.state for record in content.signing]
    if content.format not in {_WITHOUT_WRAPPING, _FORMAT}:
        return f"its format is {content.format}, this release reads {_WITHOUT_WRAPPING} to {_FORMAT}"
    if states.count(KeyState.ACTIVE) != 1 or states.count(KeyState.NEXT) > 1:
        return "exactly one key must be active, and at most one next"
    if sum(master.until is None for master in content.masters) != 1:
        return "exactly one master secret must be in use"
    wrapping = [record.state for record in content.wrapping]
    if wrapping.count(KeyState.ACTIVE) != (content.format == _FORMAT) or wrapping.count(KeyState.NEXT) > 1:
        return "exactly one key must wrap, and at most one be next"
    parts: tuple[Part, ...] = (*content.signing, *content.masters, *content.wrapping)
    return _repeated(content) or next(filter(None, map(_fault, parts)), None)


def _repeated(content: RingContent) -> str | None:
    ids: Sequence[object] = [record.kid for record in content.signing]
    ids = [*ids, *(master.id for master in content.masters), *(record.id for record in content.wrapping)]
    return "a key id appears twice" if len(set(ids)) < len(ids) else None


def _fault(part: Part) -> str | None:
    if isinstance(part, Master):
        sound = len(part.secret.reveal()) == MASTER_BYTES and 1 <= part.id <= _LARGEST_ID
        return None if sound else f"master {part.id} is not a {MASTER_BYTES} byte secret with a 32 bit id"
    if isinstance(part, WrappingRecord):
        sound = len(part.secret.reveal()) == WRAPPING_BYTES and _WRAPPING_ID.fullmatch(part.id) is not None
        return None if sound else f"wrapping key {part.id!r} is not a {WRAPPING_BYTES} byte secret with an id of 16 hexadecimal digits"
    return _signing_fault(part)


def _signing_fault(part: SigningRecord) -> str | None:
    if part.alg != ALGORITHM:
        return f"key {part.kid} is not for {ALGORITHM}"
    if part.state is KeyState.RETIRED and part.until is None:
        return f"key {part.kid} is retired without an end"
    if len(part.seed.reveal()) != SEED_BYTES or _kid(part.seed) != part.kid:
        return f"key {part.kid} does not match its id"
    return None
