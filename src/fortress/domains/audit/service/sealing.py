"""Sealing: rows are bound into a chain of hashes after their commit, so that the chain costs no writer anything."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.audit.models import AuditSeal
from fortress.domains.audit.repository import LogRepository, LogRow, SealRepository
from fortress.domains.audit.service.canonical import NO_SEAL, hash_of_row, hash_of_seal
from fortress.domains.audit.service.witness import Witness
from fortress.errors import Conflict
from fortress.security import SYSTEM
from fortress.security.keys import DerivedKey, KeyRing
from fortress.security.principal import NOBODY

PURPOSE: Final = "audit"
BATCH: Final = 500
_BATCHES: Final = 40
_logger = structlog.get_logger("fortress.audit")


class SealingService:
    """Seals what no running transaction can add to any more, in the order of the transactions.

    A transaction that stays open, in whatever database of the server, holds the horizon back, so that what is unsealed grows until
    it ends.
    """

    def __init__(
        self, database: Database, log: LogRepository, seals: SealRepository, ring: KeyRing, witness: Witness, clock: Clock
    ) -> None:
        self._database = database
        self._log = log
        self._seals = seals
        self._ring = ring
        self._witness = witness
        self._clock = clock

    async def seal(self) -> int:
        """Seal all that can be sealed now, in bounded batches; how many rows that were."""
        sealed, trusted = 0, await self._stands()
        for _ in range(_BATCHES):
            seal = await self._seal_batch()
            if seal is None:
                break
            sealed += len(seal.row_ids)
            if trusted:
                await asyncio.to_thread(self._witness.remember, seal.number, seal.hash)
            if len(seal.row_ids) < BATCH:
                break
        return sealed

    async def unsealed(self) -> int:
        """Rows that no seal covers yet."""
        reader = self._database.reader(SYSTEM)
        last = next(iter(await self._seals.last(reader)), None)
        return (await self._log.tail(reader, **place_of(last))).rows

    async def _stands(self) -> bool:
        """Whether the chain still holds what the witness saw; one that was cut and grows again must not become its truth."""
        known = await asyncio.to_thread(self._witness.recall)
        if known is None:
            return True
        seen = await self._seals.by_number.maybe(self._database.reader(SYSTEM), number=known.number)
        stands = seen is not None and seen.hash.hex() == known.hash
        if not stands:
            _logger.error("audit.chain_cut", seal=known.number, hash=known.hash)
        return stands

    async def _seal_batch(self) -> AuditSeal | None:
        try:
            async with self._database.unit(SYSTEM) as unit:
                if not await self._seals.turn(unit):
                    return None
                last = next(iter(await self._seals.last(unit)), None)
                rows = await self._log.settled(unit, **place_of(last), most=BATCH)
                if not rows:
                    return None
                return await self._seals.add(unit, draft(last, rows, self._clock.now(), self._ring.secret(PURPOSE)))
        except Conflict:
            # Another sealer was quicker, where an advisory lock does not reach (a failover); the next run goes on after it.
            return None


def place_of(seal: AuditSeal | None) -> dict[str, object]:
    """The row after which the next batch begins."""
    if seal is None:
        return {"tx": 0, "seq": 0, "id": NOBODY}
    return {"tx": seal.last_tx, "seq": seal.last_seq, "id": seal.last_id}


def draft(last: AuditSeal | None, rows: Sequence[LogRow], now: datetime, key: DerivedKey) -> AuditSeal:
    """The seal of these rows after that one. Pure."""
    end = rows[-1]
    unsigned = AuditSeal(
        number=last.number + 1 if last else 1,
        sealed_at=now,
        previous=last.hash if last else NO_SEAL,
        first_at=min(row.at for row in rows),
        last_at=max(row.at for row in rows),
        last_tx=end.tx,
        last_seq=end.seq,
        last_id=end.id,
        row_ids=tuple(row.id for row in rows),
        row_hashes=b"".join(map(hash_of_row, rows)),
        hash=b"",
        key_id=key.id,
        mac=b"",
    )
    whole = hash_of_seal(unsigned)
    return msgspec.structs.replace(unsigned, hash=whole, mac=mac_of(whole, key))


def mac_of(digest: bytes, key: DerivedKey) -> bytes:
    """What only a holder of the key ring can make."""
    return hmac.digest(key.material.reveal(), digest, "sha256")
