"""Whether an address is its account's: shown by a token that was sent there."""

from __future__ import annotations

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.events import EmailVerified
from fortress.domains.identity.models import MailedPurpose, User
from fortress.domains.identity.repository import UserRepository
from fortress.domains.identity.service import letters
from fortress.domains.identity.service.asking import PRIORITY, AskedAddresses
from fortress.domains.identity.service.mailed import MailedTokens, invalid_token
from fortress.domains.identity.service.pairs import on_behalf_of
from fortress.domains.notifications.contract import Notifications
from fortress.events import Once, job
from fortress.security import SYSTEM

_PURPOSE = MailedPurpose.VERIFY_EMAIL


class EmailVerification:
    """Sends tokens to addresses, and takes them back."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        tokens: MailedTokens,
        notices: Notifications,
        asked: AskedAddresses,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._tokens = tokens
        self._notices = notices
        self._asked = asked
        self._clock = clock

    async def welcome(self, unit: Unit, user: User) -> None:
        """Greet somebody who signs up in this unit, with a token."""
        token = await self._tokens.first(unit, user, _PURPOSE)
        await self._notices.tell(unit, user.id, letters.WELCOME_AND_VERIFY, letters.Carried(token))

    async def resend(self, email: str) -> None:
        """Have another token sent, if there is an unproved account of this address; the same is done here for any."""
        await self._asked.enqueue(send_verification, email)

    async def verify(self, token: str) -> None:
        """The address is proved.

        Raises:
            Invalid: the token does not hold: unknown, used, expired, or for an address that the account has no more.
        """
        async with self._database.unit(SYSTEM) as unit:
            found = await self._tokens.use(unit, token, _PURPOSE)
            user = await self._users.by_id.maybe(unit, id=found.user_id)
            if user is None or user.status is not UserStatus.ACTIVE or not self._tokens.still_binds(found.bound, user, _PURPOSE):
                raise invalid_token()
            unit.principal = on_behalf_of(user.id)
            if await self._users.verify(unit, id=user.id, now=self._clock.now()):
                unit.record(EmailVerified(user_id=user.id))
                unit.audit("users.email_verified", target=user.id)

    async def send_asked(self, address: str, once: Once) -> None:
        """Send what was asked for with `resend`, if there is such an account. Raises Unreadable."""
        email = self._asked.open(address)
        # Both are asked for anybody: what one of them says must not spare the work of the other.
        allowed = await self._tokens.may_send(_PURPOSE, email)
        found = await self._users.credentials.maybe(self._database.reader(SYSTEM), email=email)
        if not allowed or found is None or found.verified_at is not None or found.status is not UserStatus.ACTIVE:
            return
        user = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=found.id)
        if user is not None:
            async with self._database.unit(SYSTEM) as unit:
                if await once(unit):
                    await self._send(unit, user)

    async def _send(self, unit: Unit, user: User) -> None:
        token = await self._tokens.issue(unit, user, _PURPOSE)
        if token is not None:
            await self._notices.tell(unit, user.id, letters.VERIFY_EMAIL, letters.Carried(token))


@job(name="identity.send_verification", priority=PRIORITY)
async def send_verification(address: str, verification: EmailVerification, once: Once) -> None:
    """Send another token to who has not proved their address."""
    await verification.send_asked(address, once)
