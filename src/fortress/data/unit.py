"""The unit of work: one action, one transaction, and everything that it writes in one commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import UUID

from fortress import context
from fortress.data.changes import NOBODY, Changes, News, notices
from fortress.data.connections import Connections, Kept, ReadConnections
from fortress.data.cursor import Cursors
from fortress.data.entity import Entity, Shape, shape_of
from fortress.data.journal import Journal
from fortress.data.outgoing import Held, Outgoing
from fortress.data.personal.cache import SubjectKeys
from fortress.data.personal.datakeys import Known
from fortress.data.personal.fields import PersonalFields
from fortress.data.personal.storing import Writer
from fortress.data.personal.vault import Personal
from fortress.data.reader import Reader, Rows
from fortress.data.refusals import Moved, UnitFailed, is_clean, is_lost, is_stale_plan, refusal
from fortress.data.writes import Plans, Statement
from fortress.fact import Fact
from fortress.failpoints import AFTER_COMMIT_BEFORE_WAKE, BEFORE_COMMIT
from fortress.job import Job
from fortress.security.principal import Principal

E = TypeVar("E", bound=Entity)

NOTICE: Final = 7999

_log = logging.getLogger(__name__)


class Isolation(StrEnum):
    """What a transaction sees of others; the value is PostgreSQL's name."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


_BEGIN: Final = {Isolation.READ_COMMITTED: "BEGIN"} | {
    level: f"BEGIN ISOLATION LEVEL {level}" for level in (Isolation.REPEATABLE_READ, Isolation.SERIALIZABLE)
}


_LOCKS: Final = "SELECT pg_advisory_xact_lock(lock) FROM unnest($1::bigint[]) AS lock"


class Tools:
    """What every unit of one database works with."""

    __slots__ = ("audience", "cursors", "heard", "journal", "personal", "plans", "readers", "tell_heard", "writers")

    def __init__(self, readers: ReadConnections, writers: Connections, cursors: Cursors, journal: Journal, personal: Personal) -> None:
        self.readers = readers
        self.writers = writers
        self.cursors = cursors
        self.journal = journal
        self.personal = personal
        self.plans = Plans()
        self.audience = NOBODY
        self.heard: frozenset[str] = frozenset()
        self.tell_heard: Callable[[Collection[str]], object] = _unheard


class Unit(Reader):
    """One transaction on behalf of a principal. Leaving its block commits; an exception rolls everything back.

    It begins with the first statement that needs it: new rows are held back and go out as one statement before the
    next read or change or at the end, so that a unit that only adds costs a single round trip. Its statements run one
    after another: no two tasks may use one unit at once.

    Attributes:
        memory: what services note down for as long as this unit lives, each under a key of its own.
    """

    __slots__ = (
        "_at_commit",
        "_changes",
        "_closed",
        "_committed",
        "_failed",
        "_heard",
        "_isolation",
        "_kept",
        "_news",
        "_out",
        "_tools",
        "_writer",
        "_wrote",
        "memory",
    )

    def __init__(self, principal: Principal, tools: Tools, isolation: Isolation) -> None:
        super().__init__(principal, tools.readers, tools.cursors, tools.personal)
        self._tools = tools
        self._isolation = isolation
        self._kept: Kept | None = None
        self._out = Outgoing()
        self._committed: list[Callable[[], None]] = []
        self._changes = Changes(tools.audience.tables)
        self._news: list[News] = []
        self._at_commit: list[str] = []
        self._heard: set[str] = set()
        self._writer: Writer | None = None
        self.memory: dict[object, Any] = {}
        self._wrote = False
        self._failed = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                await self._finish()
                if AFTER_COMMIT_BEFORE_WAKE.armed and self._wrote:
                    await AFTER_COMMIT_BEFORE_WAKE.reached()
        finally:
            self._closed = True
            self._doubt()
            await self._abandon(error)
        if error is None:
            self._keep()
            self._tell()

    def add(self, rows: Iterable[Entity]) -> None:
        """Hold new rows back until the next flush."""
        self._open()
        self._out.rows.extend(rows)

    def record(self, fact: Fact) -> None:
        """Write a fact to the log, in this commit.

        Raises:
            UndeclaredFact: no domain declares it.
            TooLarge: it has more than 16 KiB as JSON.
            msgspec.ValidationError: a field does not hold what it says.
        """
        self.add((self._tools.journal.happened(self.principal, fact),))
        name = type(fact).__name__
        if name in self._tools.heard:
            self._heard.add(name)

    def audit(self, action: str, *, target: object = None, detail: dict[str, Any] | None = None) -> None:
        """Write to the audit log who did what to what, in this commit.

        The log is kept for years and read by people: give it ids, names of fields and counts, never a secret, a
        token, a password or what a person wrote.

        Args:
            action: `domain.verb`, in the past tense.
            target: its id.
            detail: at most 4 KiB as JSON.

        Raises:
            TooLarge: the detail is larger.
        """
        self.add((self._tools.journal.audited(self.principal, action, target, detail or {}),))

    def enqueue(self, job: Job, /, **arguments: Any) -> None:
        """Have this done after the commit, and never without it: `unit.enqueue(send_receipt, order_id=order.id)`.

        It goes out with the unit's new rows, at no round trip of its own. `job.on(…)` says when, in which order and how often at once:
        while one with the same key waits, this one is not enqueued, and it is no error.

        Raises:
            TypeError: an argument is missing, or the job takes none of a name.
            msgspec.ValidationError: an argument is not what its parameter says.
            TooLarge: they have more than 16 KiB as JSON.
        """
        self._open()
        self._out.jobs.append(self._tools.journal.enqueued(self.principal, job, arguments))

    def notify(self, message: str) -> None:
        """Tell every process, on the channel `fortress`, if and when this commits. At most 7999 bytes.

        Raises:
            ValueError: the message is longer or empty.
        """
        self._open()
        if not 0 < len(message.encode()) <= NOTICE:
            raise ValueError("a notice has 1 to 7999 bytes")
        self._out.notices.append(message)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call this once the commit is known: for purely local things, such as dropping a cached value.

        It is lost when the process dies in between; an effect outside is a fact's or a job's matter.
        """
        self._open()
        self._committed.append(callback)

    async def rows(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """The rows of one statement within the transaction, after what was added so far."""
        kept = await self._begun()
        await self._flush(kept)
        return await self._run(kept, Statement(sql, arguments, ()))

    async def run(self, sql: str, *arguments: Any) -> Rows:
        """One writing statement within the transaction; for the runtime's own tables, never for business code."""
        return await self.change(sql, list(arguments), ())

    async def change(self, sql: str, arguments: Sequence[Any], shapes: tuple[Shape, ...], key: UUID | None = None) -> Rows:
        """Run one statement that writes entities of these shapes within the transaction, after what was added so far.

        `key` is that of the only row that it may write; without one it may be any.
        """
        kept = await self._begun()
        await self._flush(kept)
        self._wrote = True
        self._changes.changed(shapes, key)
        return await self._run(kept, Statement(sql, arguments, shapes))

    async def flush(self) -> None:
        """Send what was added so far, so that a breach of a rule shows here and not at the end."""
        if self._out:
            await self._flush(await self._begun())

    def hold(self, change: Held) -> None:
        """Send this change with what was added; for queries."""
        self._open()
        self._changes.changed(change.shapes, change.key)
        self._out.changes.append(change)

    def depend(self, change: Held) -> None:
        """Keep nothing of this unit unless this change finds a row; for queries.

        Raises:
            UnitFailed: it depends on one already.
        """
        self._open()
        if self._out.guard is not None:
            raise UnitFailed("a unit of work depends on one change at most")
        self._changes.changed(change.shapes, change.key)
        self._out.guard = change

    async def stored(self, row: E, fields: PersonalFields) -> E:
        """A changed row as it is kept; for repositories. Raises Erased."""
        stored, new = await self._writing().saved(row, fields)
        self.add(new)
        await self._guard(self._writing())
        return stored

    def all_keys(self, people: Sequence[bytes]) -> list[SubjectKeys] | None:
        """As a reader's, while this unit has made none itself."""
        return None if self._writer is not None and self._writer.made else super().all_keys(people)

    def ready_keys(self, people: Sequence[UUID]) -> tuple[Known, list[UUID]]:
        """As a reader's, and those that this unit has made."""
        made = self._writer.made if self._writer else {}
        found, missing = super().ready_keys([person for person in people if person not in made])
        return found | {person: made[person] for person in people if person in made}, missing

    async def _guard(self, writer: Writer) -> None:
        """Look for values that must not be there twice, and keep others from writing them until this unit is over."""
        if not writer.guards:
            return
        guards, writer.guards = sorted(writer.guards, key=lambda guard: guard.lock), []
        kept = await self._begun()
        await self._run(kept, Statement(_LOCKS, [[guard.lock for guard in guards]], ()))
        for guard in guards:
            if await self._run(kept, Statement(guard.sql, [guard.digests, guard.row], ())):
                self._failed = True
                raise guard.taken

    def _writing(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self._tools.personal)
        return self._writer

    def _open(self) -> None:
        if self._closed:
            raise UnitFailed("the unit of work is over")

    @property
    def _in_transaction(self) -> bool:
        return self._kept is not None

    async def _begun(self) -> Kept:
        self._open()
        if self._failed:
            raise UnitFailed("a statement of this unit of work has failed; nothing more can be done in it")
        if self._kept is None:
            self._kept = await self._tools.writers.begin(_BEGIN[self._isolation])
        return self._kept

    async def _flush(self, kept: Kept) -> None:
        if self._out:
            await self._send(kept, await self._taken())

    async def _send(self, kept: Kept, statements: list[Statement]) -> None:
        for statement in statements:
            self._check(statement, await self._run(kept, statement))

    def _check(self, statement: Statement, rows: Rows) -> None:
        if statement.guarded and not rows:
            self._failed = True
            raise Moved

    async def _taken(self) -> list[Statement]:
        self._changes.added(self._out.rows)
        if any(shape_of(entity).personal for entity in set(map(type, self._out.rows))):
            self._out.rows = await self._writing().added(self._out.rows)
            await self._guard(self._writing())
        statements = self._tools.plans.flush(self._out)
        self._out = Outgoing()
        self._wrote = True
        return statements

    async def _run(self, kept: Kept, statement: Statement) -> Rows:
        try:
            return await kept.run(statement.sql, statement.arguments)
        except BaseException as error:
            self._spoil(error)
            raise refusal(error, statement.shapes) from None

    def _spoil(self, error: BaseException) -> None:
        """After an error the transaction can only be rolled back, and the connection is only kept if it is in order."""
        self._failed = True
        if self._kept is not None and is_stale_plan(error):
            self._kept.forget_statements()
        if self._kept is not None and not is_clean(error):
            self._tools.writers.discard(self._kept)
            self._kept = None

    async def _finish(self) -> None:
        if self._failed:
            raise UnitFailed("a statement of this unit of work has failed; nothing of it was kept")
        self._announce()
        if not self._in_transaction:
            if not self._out:
                return
            statements = await self._taken()
            alone = len(statements) == 1 and self._isolation is Isolation.READ_COMMITTED
            # What must be unique may have been looked for in between, within a transaction.
            if alone and not self._in_transaction:
                await self._commit_alone(statements[0])
                return
            await self._send(await self._begun(), statements)
        else:
            await self._flush(await self._begun())
        await self._commit()

    def _announce(self) -> None:
        """What was changed is told by the last statement that is sent anyway: that of the new rows, else the COMMIT."""
        self._changes.added(self._out.rows)
        self._news = self._tools.audience.news(self._changes)
        told = list(notices(self._news))
        if self._out:
            self._out.notices += told
        else:
            self._at_commit = told

    async def _commit_alone(self, statement: Statement) -> None:
        """A single statement is a transaction already."""
        if BEFORE_COMMIT.armed:
            await BEFORE_COMMIT.reached()
        try:
            rows = await self._tools.writers.once(statement.sql, statement.arguments)
        except BaseException as error:
            self._failed = True
            if not is_clean(error):
                self._mark_committed()
            raise refusal(error, statement.shapes) from None
        self._check(statement, rows)
        self._mark_committed()

    async def _commit(self) -> None:
        kept = self._kept
        if kept is None:
            raise UnitFailed("the unit of work lost its connection; nothing of it was kept")
        if BEFORE_COMMIT.armed and self._wrote:
            await BEFORE_COMMIT.reached()
        try:
            tag = await kept.commit(self._at_commit)
        except BaseException as error:
            if not is_clean(error):
                # Nobody knows whether it was committed, so nobody may do it a second time.
                self._mark_committed()
                self._spoil(error)
            else:
                self._release()
            raise refusal(error) from None
        self._release()
        if tag != "COMMIT":
            raise UnitFailed("the database rolled the unit of work back")
        self._mark_committed()

    def _release(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            self._tools.writers.release(kept)

    async def _abandon(self, error: BaseException | None) -> None:
        """Undo what was begun and not committed."""
        kept = self._kept
        if kept is None:
            return
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._kept = None
            self._tools.writers.discard(kept)
            return
        try:
            await kept.command("ROLLBACK")
        except BaseException as problem:
            self._kept = None
            self._tools.writers.discard(kept)
            if not is_lost(problem):
                raise
        else:
            self._release()

    def _mark_committed(self) -> None:
        here = context.current.get()
        if here is not None and self._wrote:
            here.committed = True

    def _keep(self) -> None:
        """The keys that were made are in force."""
        if self._writer is not None:
            self.personal.data.keep(self._writer.made, self._writer.stamp)

    def _doubt(self) -> None:
        """Making keys may be what failed: the next time they are looked for."""
        if self._failed and self._writer is not None:
            self.personal.data.doubt(self._writer.made)

    def _tell(self) -> None:
        told: list[Callable[[], object]] = [partial(self._tools.audience.told, news) for news in self._news]
        if self._heard:
            told.append(partial(self._tools.tell_heard, self._heard))
        for callback in (*told, *self._committed):
            try:
                callback()
            except Exception:
                _log.exception("a callback after the commit failed")


def _unheard(names: Collection[str]) -> None:
    """Nobody follows the log."""
