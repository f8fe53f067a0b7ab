"""What every unit of work can write beside its rows: who did what, what has happened, and what is to be done later."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec

from fortress import context
from fortress.clock import Clock, Ids
from fortress.data.columns import Default, Generated, Key, Sql
from fortress.data.entity import Entity, Index, desc
from fortress.data.queue import JobEntry, carried
from fortress.errors import TooLarge
from fortress.fact import Fact, UndeclaredFact, encoded
from fortress.job import Job
from fortress.security.principal import Principal

AUDIT_DETAIL: Final = 4096
FACT_PAYLOAD: Final = 16_384
JOB_ARGUMENTS: Final = 16_384

Transaction = Annotated[Generated[int], Sql("xid8"), Default("pg_current_xact_id()")]


class AuditEntry(Entity, frozen=True):
    """Somebody did something. Append-only: the application's role may neither change nor delete it.

    Attributes:
        tx: the transaction; with `seq` it gives the order in which entries are sealed.
        target: what it was done to, as text.
    """

    __tablename__ = "audit_log"
    __partition_by__ = "at"
    __indexes__ = (
        Index("idx_audit_log_tx", "tx", "seq"),
        Index("idx_audit_log_actor", "actor_id", desc("at")),
        Index("idx_audit_log_target", "target", desc("at")),
    )

    id: Key
    at: datetime
    actor_id: UUID
    actor_kind: str
    session: UUID | None
    action: str
    target: str | None
    address: str | None
    request_id: str | None
    detail: dict[str, Any]
    tx: Transaction = 0
    seq: Generated[int] = 0


class EventEntry(Entity, frozen=True):
    """A fact in the log.

    Attributes:
        tx: the transaction; readers take only what is below every running one.
        seq: the order within a transaction.
        aggregate: what it happened to.
    """

    __tablename__ = "events"
    __partition_by__ = "at"
    __indexes__ = (Index("idx_events_tx", "tx", "seq"), Index("idx_events_aggregate", "aggregate", "seq"))

    id: Key
    at: datetime
    name: str
    version: int
    aggregate: UUID
    actor_id: UUID
    request_id: str | None
    payload: dict[str, Any]
    tx: Transaction = 0
    seq: Generated[int] = 0


class Journal:
    """Makes the rows of both logs and of the queue, with the request and the caller that they belong to.

    Attributes:
        declared: the facts that domains declare; None, until somebody has said which those are, takes any.
    """

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self.declared: frozenset[type[Fact]] | None = None

    def audited(self, actor: Principal, action: str, target: object, detail: dict[str, Any]) -> AuditEntry:
        """The audit row of an action; what a command did names the operator who ran it, and what a subscriber did the subscriber.

        Raises:
            TooLarge: the detail has more than 4 KiB as JSON.
        """
        here = context.current.get()
        if here is not None and here.subscriber is not None:
            detail = {**detail, "subscriber": here.subscriber}
        operator = context.operator.get()
        if operator is not None:
            detail = {**detail, "operator": operator}
        if len(msgspec.json.encode(detail)) > AUDIT_DETAIL:
            raise TooLarge("There is more to this action than can be recorded")
        return AuditEntry(
            id=self._ids.new(),
            at=self._clock.now(),
            actor_id=actor.id,
            actor_kind=actor.method.value,
            session=actor.session,
            action=action,
            target=None if target is None else str(target),
            # A job has the request that it was enqueued in, but no client.
            address=here.address or None if here else None,
            request_id=here.request_id if here else None,
            detail=detail,
        )

    def happened(self, actor: Principal, fact: Fact) -> EventEntry:
        """The row of a fact.

        Raises:
            UndeclaredFact: no domain declares it.
            TooLarge: the fact has more than 16 KiB as JSON.
            msgspec.ValidationError: a field does not hold what it says.
        """
        if self.declared is not None and type(fact) not in self.declared:
            raise UndeclaredFact(f"no domain declares {type(fact).__qualname__}; name it in the manifest: Domain(facts=[…])")
        payload = encoded(fact)
        if len(payload) > FACT_PAYLOAD:
            raise TooLarge("There is more to this fact than can be recorded")
        return EventEntry(
            id=self._ids.new(),
            at=self._clock.now(),
            name=type(fact).__name__,
            version=type(fact).version,
            aggregate=fact.aggregate,
            actor_id=actor.id,
            request_id=context.request_id(),
            # Encoded once: the column takes it as it is.
            payload=cast(Any, msgspec.Raw(payload)),
        )

    def enqueued(self, actor: Principal, job: Job, arguments: dict[str, Any]) -> JobEntry:
        """The row of a job.

        Raises:
            TypeError: an argument is missing, or the job takes none of a name.
            msgspec.ValidationError: an argument is not what its parameter says.
            TooLarge: they have more than 16 KiB as JSON.
        """
        kept = msgspec.json.encode(job.kept(arguments) | carried(actor, context.request_id()))
        if len(kept) > JOB_ARGUMENTS:
            raise TooLarge("There is more to this job than can be kept")
        terms = job.terms
        at = self._clock.now() + terms.after if terms.after is not None else terms.at
        return JobEntry(job.name, int(job.priority), terms.lock, terms.key, kept.decode(), at)
