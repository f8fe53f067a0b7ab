"""Doing something once, however often it is asked for: the answer is kept in the commit of what was done.

While a claim is in force the one unit of its task is a `ClaimedUnit`: its first statement asks for the claim, and it is not
committed where its block ends, but by `Claim.settle`, together with the answer. So whoever asks again gets that answer, and what
was rolled back leaves nothing behind. It costs one round trip beside the unit's own.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Final

from fortress.data.columns import CreatedAt, Key, Owner, Personal
from fortress.data.connections import Kept
from fortress.data.entity import Entity, Index, desc
from fortress.data.query import one, param, select
from fortress.data.refusals import UnitFailed
from fortress.data.repository import Repository
from fortress.data.unit import Isolation, Tools, Unit
from fortress.errors import Conflict, FortressError, Refusal
from fortress.failpoints import BEFORE_ANSWER_IS_KEPT
from fortress.security.principal import Principal

_CLAIM: Final = "SELECT state, fingerprint FROM fortress_claim($1, $2)"
_BUSY: Final = "busy"


class InFlight(Conflict):
    """The same is being done at this moment."""

    code, title = "idempotency.in_flight", "This is being done at this moment; ask again for what comes of it"

    def __init__(self) -> None:
        super().__init__(headers={"retry-after": "1"})


class Mismatch(Refusal):
    """The key was used for something else."""

    status, code, title = 422, "idempotency.mismatch", "This Idempotency-Key was used for another request"


class KnownAnswer(FortressError):
    """It was done before; the answer is kept."""


class KeptAnswer(Entity, frozen=True):
    """What was answered; encrypted by the caller's data key, and dropped with its month.

    Attributes:
        scope: a digest of who asked for what by which key.
        fingerprint: a digest of the whole request.
        headers: the answer's own.
    """

    __tablename__ = "kept_answers"
    __partition_by__ = "created_at"
    __keep_months__ = 1
    __indexes__ = (Index("idx_kept_answers_scope", "scope", desc("created_at")),)

    id: Key
    user_id: Owner
    scope: bytes
    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: Personal[bytes]
    created_at: CreatedAt


class KeptAnswers(Repository[KeptAnswer]):
    """The answers."""

    of_scope = one(
        select(KeptAnswer)
        .where(KeptAnswer.c.scope == param("scope"), KeptAnswer.c.created_at > param("since"))
        .order_by(KeptAnswer.c.created_at.desc())
    )


class Claim:
    """One try to do what is asked for.

    Args:
        scope, fingerprint: as KeptAnswer has them.
        since: what was answered before counts no more.
    """

    def __init__(self, scope: bytes, fingerprint: bytes, since: datetime) -> None:
        self.scope = scope
        self.fingerprint = fingerprint
        self.since = since
        self._unit: ClaimedUnit | None = None

    def unit(self, principal: Principal, tools: Tools, isolation: Isolation) -> ClaimedUnit:
        """The unit in which it is done.

        Raises:
            UnitFailed: it has one already, or the isolation would hide what others have just committed.
        """
        if self._unit is not None or isolation is not Isolation.READ_COMMITTED:
            raise UnitFailed("what is idempotent is done in one unit of work, READ COMMITTED")
        self._unit = ClaimedUnit(principal, tools, isolation, self)
        return self._unit

    def check(self, found: list[Any]) -> None:
        """Raises InFlight, Mismatch or KnownAnswer, unless this is the first to ask."""
        if not found:
            return
        if found[0]["state"] == _BUSY:
            raise InFlight
        raise KnownAnswer if found[0]["fingerprint"] == self.fingerprint else Mismatch

    async def settle(self, answer: KeptAnswer) -> None:
        """Commit what was done, with the answer. Raises what the unit's end raises."""
        if self._unit is not None:
            await self._unit.settle(answer)

    async def abandon(self, error: BaseException) -> None:
        """Take back what was done."""
        if self._unit is not None:
            await self._unit.give_up(error)


class ClaimedUnit(Unit):
    """A unit that stays open behind its block, until the answer is known."""

    __slots__ = ("_claim", "_over")

    def __init__(self, principal: Principal, tools: Tools, isolation: Isolation, claim: Claim) -> None:
        super().__init__(principal, tools, isolation)
        self._claim = claim
        self._over = False

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            await self.give_up(error)

    async def settle(self, answer: KeptAnswer) -> None:
        """Commit, with the answer."""
        try:
            if BEFORE_ANSWER_IS_KEPT.armed:
                await BEFORE_ANSWER_IS_KEPT.reached()
            await self._begun()
            self.add((answer,))
        except BaseException as error:
            await self.give_up(error)
            raise
        self._over = True
        await super().__aexit__(None, None, None)

    async def give_up(self, error: BaseException) -> None:
        """Roll back, unless that was done."""
        if not self._over:
            self._over = True
            await super().__aexit__(type(error), error, error.__traceback__)

    async def _begun(self) -> Kept:
        first = self._kept is None
        kept = await super()._begun()
        if first:
            self._claim.check(await kept.run(_CLAIM, [self._claim.scope, self._claim.since]))
        return kept


claims: ContextVar[Claim | None] = ContextVar("fortress_claim", default=None)
