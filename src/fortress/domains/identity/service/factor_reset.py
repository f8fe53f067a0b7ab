"""Second factors that their owner has lost, all of them: what an operator does about it at the shell."""

from __future__ import annotations

from uuid import UUID

from fortress.clock import Clock
from fortress.data import Database
from fortress.domains.identity.contract import NoSecondFactor
from fortress.domains.identity.events import SecondFactorRemoved
from fortress.domains.identity.models import EndedBy
from fortress.domains.identity.repository import AccountLock, AuthenticatorRepository, SessionRepository
from fortress.domains.identity.service import factor_letters as letters
from fortress.domains.identity.service.factor_records import FactorRecords
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.notifications.contract import Notifications
from fortress.mail import NOTHING
from fortress.security import Principal
from fortress.security.principal import NOBODY


class FactorReset:
    """Takes every second factor from an account. No route leads here: who may do this has shown the server's shell who they are."""

    def __init__(
        self,
        database: Database,
        accounts: AccountLock,
        authenticators: AuthenticatorRepository,
        sessions: SessionRepository,
        records: FactorRecords,
        revocations: Revocations,
        notices: Notifications,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._authenticators = authenticators
        self._sessions = sessions
        self._records = records
        self._revocations = revocations
        self._notices = notices
        self._clock = clock

    async def reset(self, person: UUID, by: Principal) -> None:
        """Forget their app, passkeys and recovery codes; every session of theirs ends, and they are told.

        The password stays as it is, and is all that the next sign-in asks for.

        Raises:
            NotFound: nobody of this id.
            NoSecondFactor: there is none.
        """
        now = self._clock.now()
        async with self._database.unit(by) as unit:
            await self._accounts.held(unit, id=person)
            standing = await self._authenticators.standing(unit, user=person, now=now)
            if not standing.methods:
                raise NoSecondFactor
            await self._records.erase(unit, person)
            await self._sessions.end_others(unit, user=person, kept=NOBODY, now=now, ended_by=EndedBy.FACTOR_CHANGE)
            for kind in standing.factors:
                unit.record(SecondFactorRemoved(user_id=person, kind=kind))
            unit.audit("factors.reset", target=person, detail={"kinds": list(standing.factors)})
            self._revocations.user(unit, person)
            await self._notices.tell(unit, person, letters.FACTORS_RESET, NOTHING)
