"""The job that sends, and how it is enqueued."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from fortress.data import Unit
from fortress.domains.webhooks.models import Delivery
from fortress.events import LOW, backoff, job

# How many deliveries of one webhook run at once: a slow receiver must not hold all workers.
LANES: Final = 2


class Carrier(Protocol):
    """Carries deliveries out."""

    async def deliver(self, id: UUID, at: datetime, version: int) -> None:
        """Try one delivery, if this is still its turn."""
        ...


@job(name="webhooks.deliver", retry=backoff(times=8), priority=LOW, seconds=60)
async def deliver(id: UUID, at: datetime, version: int, carrier: Carrier) -> None:
    """Try one delivery. When it is tried again is decided by how it went; the job's own retries are for a database that is away."""
    await carrier.deliver(id, at, version)


def send_now(unit: Unit, delivery: Delivery, version: int) -> None:
    """Have it tried after the commit. The version is its turn: a job of an earlier turn finds nothing to do."""
    lane = f"webhook:{delivery.webhook_id}:{delivery.event_id.int % LANES}"
    unit.enqueue(deliver.on(lock=lane), id=delivery.id, at=delivery.created_at, version=version)


def send_at(unit: Unit, delivery: Delivery, version: int, moment: datetime) -> None:
    """Have it tried then. Without a lock, which would hold up all that comes after it until then."""
    unit.enqueue(deliver.on(at=moment), id=delivery.id, at=delivery.created_at, version=version)
