"""Addresses that somebody has typed, on their way to a job: sealed, for most of them are nobody's whose key could hide them.

What is done for an address is a job, whoever's it is: it outlives the server, and begins at a moment that has nothing to do with
the request, so that neither its answer nor the next one tells who has an account (ASVS V6.3.8).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from fortress.clock import Clock
from fortress.data import Database
from fortress.events import HIGH, Job
from fortress.security import SYSTEM
from fortress.security.keys import KeyRing
from fortress.security.principal import NOBODY
from fortress.security.sealing import ValueCipher, place
from fortress.security.wrapping import Unreadable

PRIORITY: Final = HIGH
_PURPOSE: Final = "asked-address"
_PLACE: Final = place("procrastinate_jobs", "address")
_ROW: Final = bytes(16)


class AskedAddresses:
    """Enqueues jobs for addresses, and tells those jobs which they were."""

    def __init__(self, database: Database, ring: KeyRing, clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    async def enqueue(self, job: Job, email: str) -> None:
        """Have the job done for this address, within the second."""
        async with self._database.unit(SYSTEM) as unit:
            unit.enqueue(job.on(at=self._clock.now()), address=self.seal(email))

    def seal(self, email: str) -> str:
        """The address as a job keeps it."""
        key = self._ring.secret(_PURPOSE)
        cipher = ValueCipher(key.material.reveal(), NOBODY, key.id)
        return f"{key.id}.{urlsafe_b64encode(cipher.seal(_PLACE, _ROW, email.encode('utf-8', 'surrogatepass'))).decode()}"

    def open(self, sealed: str) -> str:
        """The address.

        Raises:
            Unreadable: nobody here has sealed it, or the key has ended since.
        """
        id, _, text = sealed.partition(".")
        key = self._ring.secret_by_id(_PURPOSE, int(id))
        if key is None:
            raise Unreadable
        return (
            ValueCipher(key.material.reveal(), NOBODY, key.id).open(_PLACE, _ROW, urlsafe_b64decode(text)).decode("utf-8", "surrogatepass")
        )
