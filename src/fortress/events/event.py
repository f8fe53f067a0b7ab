"""Events: a fact in the log, with all that is known of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.fact import Fact


class Event(msgspec.Struct, frozen=True):
    """A fact as it stands in the log; a subscriber may ask for it beside the fact, or instead of it.

    Attributes:
        version: in which it was recorded; `fact` is of the present one.
        actor_id: who did it.
        request_id: of the request in which it happened.
        tx: the transaction that recorded it; with `seq` it gives the order in which facts are heard.
    """

    id: UUID
    at: datetime
    name: str
    version: int
    aggregate: UUID
    actor_id: UUID
    request_id: str | None
    tx: int
    seq: int
    fact: Fact
