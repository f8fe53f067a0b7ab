"""Signing in, and signing up, with an identity elsewhere (ASVS V6.8)."""

from __future__ import annotations

from uuid import UUID

from fortress.clock import Clock, Ids
from fortress.data import Database, Unit
from fortress.domains.access.contract import Access
from fortress.domains.identity.contract import (
    AccountExists,
    AccountUnusable,
    EmailNotProved,
    EmailTaken,
    IdentityTaken,
    MfaRequired,
    UserStatus,
)
from fortress.domains.identity.events import IdentityLinked, UserSignedUp
from fortress.domains.identity.models import FlowPurpose, Identity, ProviderFlow, User
from fortress.domains.identity.models.addresses import read_address
from fortress.domains.identity.repository import IdentityRepository, UserRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.pairs import TokenPair
from fortress.domains.identity.service.providers.client import Proved
from fortress.domains.identity.service.providers.flows import ProviderFlows
from fortress.domains.identity.service.starting import Device, SessionStarter
from fortress.domains.notifications.contract import Notifications
from fortress.errors import Refusal
from fortress.mail import NOTHING
from fortress.security import ANONYMOUS, SYSTEM


class ProviderSignIn:
    """Who comes with a provider's word."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        identities: IdentityRepository,
        access: Access,
        flows: ProviderFlows,
        starter: SessionStarter,
        notices: Notifications,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._users = users
        self._identities = identities
        self._access = access
        self._flows = flows
        self._starter = starter
        self._notices = notices
        self._clock = clock
        self._ids = ids

    async def enter(self, flow: ProviderFlow, proved: Proved, device: Device) -> TokenPair:
        """A new session of whose identity this is; of a new account, where it is nobody's yet.

        An account that has the address is never theirs for that alone: who can sign in to it links the identity there
        (ASVS V6.8.1).

        Raises:
            AccountExists: the address has an account.
            EmailNotProved: there is no account, and no address that one could be made of.
            AccountUnusable: the account is disabled.
            MfaRequired: it has a second factor, and the provider's word does not count as one.
        """
        try:
            person = await self._person(flow.provider, proved)
            user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=person)
            if user is None or user.status is not UserStatus.ACTIVE:
                raise AccountUnusable
            pair = await self._starter.begin(user, device, factors=proved.factors, proved_at=proved.at)
            if pair is None:
                raise AccountUnusable
            await self._note(proved)
        except MfaRequired:
            raise
        except Refusal as refusal:
            await self._flows.refused(flow.provider, FlowPurpose.SIGN_IN, refusal)
            raise
        return pair

    async def _person(self, provider: str, proved: Proved) -> UUID:
        """Whose identity this is, by now."""
        known = await self._known(proved)
        if known is not None:
            return known
        try:
            return await self._new(provider, proved)
        except (IdentityTaken, AccountExists):
            # Another request of the same person may have been quicker.
            known = await self._known(proved)
            if known is None:
                raise
            return known

    async def _known(self, proved: Proved) -> UUID | None:
        reader = self._database.reader(SYSTEM)
        identity = await self._identities.known.maybe(reader, issuer=proved.issuer, subject=proved.subject)
        return None if identity is None else identity.user_id

    async def _note(self, proved: Proved) -> None:
        """When somebody last came in with this identity."""
        async with self._database.unit(SYSTEM) as unit:
            await self._identities.seen(unit, issuer=proved.issuer, subject=proved.subject, now=self._clock.now())

    async def _new(self, provider: str, proved: Proved) -> UUID:
        user = self._draft(proved)
        if await self._users.credentials.maybe(self._database.reader(SYSTEM), email=user.email) is not None:
            raise AccountExists
        try:
            async with self._database.unit(ANONYMOUS) as unit:
                await self._users.add(unit, user)
                await self._access.welcome(unit, user.id, ())
                unit.record(UserSignedUp(user_id=user.id))
                unit.audit("users.signed_up", target=user.id, detail={"provider": provider})
                await self._notices.tell(unit, user.id, letters.WELCOME, NOTHING)
                await add_identity(unit, self._identities, new_identity(self._ids.new(), user.id, provider, proved, self._clock))
        except EmailTaken:
            raise AccountExists from None
        return user.id

    def _draft(self, proved: Proved) -> User:
        """An account of the address that the provider vouches for, without a password."""
        try:
            email = read_address(proved.email or "")
        except ValueError:
            raise EmailNotProved from None
        now = self._clock.now()
        return User(
            id=self._ids.new(),
            email=email,
            name=None,
            password_hash=None,
            status=UserStatus.ACTIVE,
            created_at=now,
            signed_in_at=None,
            version=1,
            verified_at=now,
        )


def new_identity(id: UUID, person: UUID, provider: str, proved: Proved, clock: Clock) -> Identity:
    """The identity that a provider has proved, as this person's. Pure but for the time."""
    now = clock.now()
    return Identity(id, person, provider, proved.issuer, proved.subject, created_at=now, used_at=now)


async def add_identity(unit: Unit, identities: IdentityRepository, identity: Identity) -> None:
    """Write an identity down, with what is told of it. Raises IdentityTaken when it is written at the end of the unit."""
    await identities.add(unit, identity)
    unit.record(IdentityLinked(user_id=identity.user_id, identity_id=identity.id))
    unit.audit("identities.linked", target=identity.id, detail={"provider": identity.provider})
