"""The key ring: Ed25519 keys that sign, master secrets that other keys are derived from, keys that wrap others (ASVS V11.2, V13.3.4).

A signing key is first NEXT (published, so that everyone knows it before it signs), then ACTIVE, then RETIRED (verifies
until its overlap ends). A wrapping key may be next, wraps, then is retired and only unwraps until somebody
destroys it. A process
notices a rotation by the provider's stamp: every few seconds, and at once when it meets a key id that it doesn't know;
an unchanged stamp costs one look and never a load, so a flood of made-up ids does not either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fortress.clock import Clock
from fortress.errors import CannotStart
from fortress.security.keymaterial import (
    KeyMaterial,
    KeyState,
    Master,
    RingContent,
    SigningKey,
    SigningRecord,
    WrappingRecord,
    new_master,
    new_signing,
    new_wrapping,
)

LOOK_SECONDS: Final = 5.0
_DERIVED_BYTES: Final = 32
_ORDER: Final = (KeyState.ACTIVE, KeyState.NEXT, KeyState.RETIRED)
_DEFAULT_OVERLAP: Final = timedelta(hours=1)
_DEFAULT_SECRET_OVERLAP: Final = timedelta(days=100)


class KeyProvider(Protocol):
    """Where a key ring is kept: a file, or later a key service.

    Everything here is called from the event loop: a provider that asks the network keeps a copy of its own.
    """

    def stamp(self) -> Hashable:
        """Something cheap that changes whenever the content does.

        Raises:
            CannotStart: the ring can't be reached.
        """
        ...

    def load(self) -> RingContent:
        """The whole ring.

        Raises:
            CannotStart: the ring can't be read, or is not safe to use.
        """
        ...

    def change(self, edit: Callable[[RingContent], RingContent]) -> None:
        """Load, edit and store as one step that no other process can enter.

        Raises:
            CannotStart: the ring can't be read or written.
        """
        ...


class DerivedKey:
    """A symmetric key for one purpose, and the id of the master that it comes from."""

    __slots__ = ("id", "material")

    def __init__(self, id: int, material: KeyMaterial) -> None:
        self.id = id
        self.material = material

    def __repr__(self) -> str:
        return f"DerivedKey(id={self.id})"


class KeyRing:
    """The keys in force, reloaded when they change; never shown in a repr.

    Args:
        provider: where the ring is kept.
        clock: decides when a retired key is refused.
        overlap: how long a retired signing key verifies; longer than an access token lives.
        secret_overlap: how long a retired master still derives; longer than a refresh token lives.

    Attributes:
        loads: how often the whole ring was read.
        failures: how often a changed ring could not be read; the old one stays in force.

    Raises:
        CannotStart: the ring can't be read, or holds no key that signs.
    """

    def __init__(
        self,
        provider: KeyProvider,
        clock: Clock,
        *,
        overlap: timedelta = _DEFAULT_OVERLAP,
        secret_overlap: timedelta = _DEFAULT_SECRET_OVERLAP,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._overlap = overlap
        self._secret_overlap = secret_overlap
        self.loads = 0
        self.failures = 0
        self.reload()

    def __repr__(self) -> str:
        return f"KeyRing(signing={len(self._signing)}, masters={len(self._masters)}, wrapping={len(self._wrapping)})"

    def reload(self) -> None:
        """Read the ring again, whether it changed or not.

        Raises:
            CannotStart: it can't be read; what was in force stays so.
        """
        self._looked = self._clock.monotonic()
        self._stamp = self._provider.stamp()
        self.loads += 1
        self._use(self._provider.load())

    def signer(self) -> SigningKey:
        """The key that signs now."""
        self._look_when_due()
        return self._active

    def verifier(self, kid: str) -> SigningKey | None:
        """The key with this id, unless it is unknown or its overlap has ended."""
        self._look_when_due()
        key = self._signing.get(kid)
        if key is None:
            self._look()
            key = self._signing.get(kid)
        return key if key is not None and not _ended(key.until, self._clock.now()) else None

    def signing_keys(self) -> list[SigningKey]:
        """Every signing key with its state, the one that signs first; for those who look after the ring."""
        self._look_when_due()
        return sorted(self._signing.values(), key=lambda key: (key.state is not KeyState.ACTIVE, key.state is KeyState.RETIRED))

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK Set (RFC 7517 §5), the next one included, the ended ones not."""
        self._look_when_due()
        now = self._clock.now()
        return {"keys": [key.public_jwk() for key in self._signing.values() if not _ended(key.until, now)]}

    def secret(self, purpose: str) -> DerivedKey:
        """The key for `purpose` to be used for what is made now.

        Masters end some time after their rotation: nothing that must be readable for ever may hang on such a key.
        """
        self._look_when_due()
        return self._derive(purpose, self._master)

    def secret_by_id(self, purpose: str, id: int) -> DerivedKey | None:
        """The key for `purpose` from the master `id`, unless that is unknown or its overlap has ended."""
        self._look_when_due()
        master = self._masters.get(id)
        if master is None:
            self._look()
            master = self._masters.get(id)
        return self._derive(purpose, master) if master is not None and not _ended(master.until, self._clock.now()) else None

    def secrets(self, purpose: str) -> list[DerivedKey]:
        """Every key for `purpose` that still counts, the one in use first."""
        self._look_when_due()
        now = self._clock.now()
        live = [master for master in self._masters.values() if not _ended(master.until, now)]
        return [self._derive(purpose, master) for master in sorted(live, key=lambda master: master.until is not None)]

    def masters(self) -> list[Master]:
        """Every master, the one in use first; for those who look after the ring."""
        self._look_when_due()
        return sorted(self._masters.values(), key=lambda master: (master.until is not None, -master.id))

    def wrapping_keys(self) -> list[WrappingRecord]:
        """Every key that wraps others, the one in use first; empty for a ring of an older release."""
        self._look_when_due()
        return sorted(self._wrapping.values(), key=lambda record: (_ORDER.index(record.state), record.created))

    def wrapping_key(self, id: str) -> WrappingRecord | None:
        """The wrapping key with this id, unless it is unknown or was destroyed."""
        self._look_when_due()
        if id not in self._wrapping:
            self._look()
        return self._wrapping.get(id)

    def rotate(self, now: datetime | None = None) -> str:
        """Let the next key sign, retire the one that did, publish a new next; the id of the key that signs from now on.

        Raises:
            CannotStart: the ring can't be written.
        """
        at = now or self._clock.now()
        self._change(lambda content: content.with_signing(_rotated(content.signing, at, self._overlap)))
        return self._active.kid

    def rotate_secrets(self, now: datetime | None = None) -> int:
        """Make a new master secret and retire the one in use; the new one's id.

        Raises:
            CannotStart: the ring can't be written.
        """
        at = now or self._clock.now()
        self._change(lambda content: content.with_masters(_remastered(content.masters, at, self._secret_overlap)))
        return self._master.id

    def prepare_wrapping(self) -> str:
        """Have a next wrapping key, for rings that are copied from host to host before it wraps; its id.

        Raises:
            CannotStart: the ring can't be written.
        """
        now = self._clock.now()
        self._change(lambda content: content.with_wrapping(_prepared(content.wrapping, now)))
        return next(record.id for record in self._wrapping.values() if record.state is KeyState.NEXT)

    def rotate_wrapping(self) -> str:
        """Let the next key wrap, or a new one when none was prepared, and retire the one in use; the id of the one that wraps.

        Raises:
            CannotStart: the ring can't be written.
        """
        now = self._clock.now()
        self._change(lambda content: content.with_wrapping(_rewrapped(content.wrapping, now)))
        return self.wrapping_keys()[0].id

    def destroy_wrapping(self, ids: Collection[str]) -> list[str]:
        """Destroy retired wrapping keys for ever: what only they wrap can't be read again. The ids that went.

        Raises:
            CannotStart: one of them wraps, or the ring can't be written.
        """
        before = {record.id for record in self.wrapping_keys()}
        self._change(lambda content: content.with_wrapping(_without(content.wrapping, ids)))
        return sorted(before - self._wrapping.keys())

    def upgrade(self) -> None:
        """Give a ring of an older release what this one needs; nothing happens to another.

        Raises:
            CannotStart: the ring can't be written.
        """
        if not self._wrapping:
            self._change(lambda content: content)

    def _change(self, edit: Callable[[RingContent], RingContent]) -> None:
        now = self._clock.now()
        self._provider.change(lambda content: edit(content.upgraded(now)))
        self.reload()

    def _use(self, content: RingContent) -> None:
        content.check()
        self._signing = {record.kid: SigningKey(record) for record in content.signing}
        self._active = next(key for key in self._signing.values() if key.state is KeyState.ACTIVE)
        self._masters = {master.id: master for master in content.masters}
        self._master = next(master for master in content.masters if master.until is None)
        self._wrapping = {record.id: record for record in content.wrapping}
        self._derived: dict[tuple[str, int], DerivedKey] = {}

    def _look_when_due(self) -> None:
        if self._clock.monotonic() - self._looked >= LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        self._looked = self._clock.monotonic()
        try:
            if self._provider.stamp() != self._stamp:
                self.reload()
        except CannotStart:
            # A ring that is broken after the start must not stop the keys that hold; `failures` tells.
            self.failures += 1

    def _derive(self, purpose: str, master: Master) -> DerivedKey:
        known = self._derived.get((purpose, master.id))
        if known is None:
            hkdf = HKDF(SHA256(), _DERIVED_BYTES, salt=None, info=b"fortress/" + purpose.encode())
            known = DerivedKey(master.id, KeyMaterial(hkdf.derive(master.secret.reveal())))
            self._derived[purpose, master.id] = known
        return known


def new_ring(now: datetime) -> RingContent:
    """A fresh ring: one key that signs, the next one, one master secret, one key that wraps."""
    active, following = new_signing(KeyState.ACTIVE, now), new_signing(KeyState.NEXT, now)
    return RingContent(signing=(active, following), masters=(new_master(1, now),), wrapping=(new_wrapping(now).begin(now),))


def _ended(until: datetime | None, now: datetime) -> bool:
    return until is not None and now >= until


def _rotated(records: tuple[SigningRecord, ...], now: datetime, overlap: timedelta) -> tuple[SigningRecord, ...]:
    following = next((record for record in records if record.state is KeyState.NEXT), None) or new_signing(KeyState.NEXT, now)
    retired = [
        record.retired(now + overlap) if record.state is KeyState.ACTIVE else record
        for record in records
        if record.state is not KeyState.NEXT and not _ended(record.until, now)
    ]
    return (following.activated(), new_signing(KeyState.NEXT, now), *retired)


def _remastered(masters: tuple[Master, ...], now: datetime, overlap: timedelta) -> tuple[Master, ...]:
    kept = [master.retired(now + overlap) if master.until is None else master for master in masters if not _ended(master.until, now)]
    return (new_master(max(master.id for master in masters) + 1, now), *kept)


def _prepared(records: tuple[WrappingRecord, ...], now: datetime) -> tuple[WrappingRecord, ...]:
    known = any(record.state is KeyState.NEXT for record in records)
    return records if known else (*records, new_wrapping(now))


def _rewrapped(records: tuple[WrappingRecord, ...], now: datetime) -> tuple[WrappingRecord, ...]:
    changed = {
        KeyState.NEXT: lambda record: record.begin(now),
        KeyState.ACTIVE: lambda record: record.retire(now),
        KeyState.RETIRED: lambda record: record,
    }
    return tuple(changed[record.state](record) for record in _prepared(records, now))


def _without(records: tuple[WrappingRecord, ...], ids: Collection[str]) -> tuple[WrappingRecord, ...]:
    if any(record.state is not KeyState.RETIRED and record.id in ids for record in records):
        raise CannotStart("the key that wraps can't be destroyed", hint="fortress keys rotate wrapping")
    return tuple(record for record in records if record.id not in ids)
