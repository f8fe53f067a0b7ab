"""Identities elsewhere of people who have an account here: linking, seeing and unlinking them."""

from __future__ import annotations

from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.domains.identity.contract import ProviderFlowLost, TooManyIdentities, UnknownIdentity
from fortress.domains.identity.events import IdentityUnlinked
from fortress.domains.identity.models import FlowPurpose, Identity, ProviderFlow
from fortress.domains.identity.repository import MOST_IDENTITIES, AccountLock, IdentityRepository, SessionRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.pairs import owner_of
from fortress.domains.identity.service.providers.client import Proved
from fortress.domains.identity.service.providers.entering import add_identity, new_identity
from fortress.domains.identity.service.providers.flows import ProviderFlows
from fortress.domains.identity.service.ways_in import WaysIn
from fortress.domains.notifications.contract import Notifications
from fortress.errors import Refusal
from fortress.security import Principal


class IdentityService:
    """The identities elsewhere of one person."""

    def __init__(
        self,
        database: Database,
        identities: IdentityRepository,
        sessions: SessionRepository,
        accounts: AccountLock,
        flows: ProviderFlows,
        ways_in: WaysIn,
        notices: Notifications,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._identities = identities
        self._sessions = sessions
        self._accounts = accounts
        self._flows = flows
        self._ways_in = ways_in
        self._notices = notices
        self._clock = clock
        self._ids = ids

    async def all_of(self, caller: Principal) -> list[Identity]:
        """The caller's own, oldest first."""
        return await self._identities.of_user(self._database.reader(caller), user=caller.id)

    async def link(self, flow: ProviderFlow, proved: Proved) -> Identity:
        """The identity, as one of the person's who began this; they may sign in by it from now on.

        Raises:
            ProviderFlowLost: the session in which it was begun has ended.
            IdentityTaken: it is somebody's already.
            TooManyIdentities: they have enough of them.
        """
        try:
            return await self._link(flow, proved)
        except Refusal as refusal:
            await self._flows.refused(flow.provider, FlowPurpose.LINK, refusal, flow.user_id)
            raise

    async def unlink(self, id: UUID, caller: Principal) -> None:
        """Let nobody sign in by this identity any more.

        Raises:
            UnknownIdentity: it is not there, or not the caller's.
            LastWayIn: they could not sign in any more.
        """
        async with self._database.unit(caller) as unit:
            gone = await self._identities.unlink(unit, id=id, user=caller.id)
            if not gone:
                raise UnknownIdentity
            await self._ways_in.require(unit, caller.id)
            unit.record(IdentityUnlinked(user_id=caller.id, identity_id=id))
            unit.audit("identities.unlinked", target=id, detail={"provider": gone[0]})
            await self._notices.tell(unit, caller.id, letters.IDENTITY_UNLINKED, letters.Provided(self._flows.title_of(gone[0])))

    async def _link(self, flow: ProviderFlow, proved: Proved) -> Identity:
        if flow.user_id is None or flow.session_id is None:
            raise ProviderFlowLost
        identity = new_identity(self._ids.new(), flow.user_id, flow.provider, proved, self._clock)
        async with self._database.unit(owner_of(flow.session_id, flow.user_id)) as unit:
            living = await self._sessions.living.maybe(unit, id=flow.session_id, user=flow.user_id, now=self._clock.now())
            if living is None:
                raise ProviderFlowLost
            # Held, so that nobody is forgotten in between, and none has more of them than they may.
            await self._accounts.held(unit, id=flow.user_id)
            if len(await self._identities.of_user(unit, user=flow.user_id)) >= MOST_IDENTITIES:
                raise TooManyIdentities
            await add_identity(unit, self._identities, identity)
            await self._notices.tell(unit, flow.user_id, letters.IDENTITY_LINKED, letters.Provided(self._flows.title_of(flow.provider)))
        return identity
