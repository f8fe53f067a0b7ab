"""Tokens that are sent by mail: 256 random bits, kept as a hash, used once, and worth nothing once what they change has changed.

ASVS V6.4.1, V6.5.1 to V6.5.5. A token is in a mail and in the body of the request that uses it: in no URL, log or event.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Final

from fortress.clock import Clock, Ids
from fortress.data import Database, Unit
from fortress.domains.identity.models import MailedPurpose, MailedToken, User
from fortress.domains.identity.models.addresses import comparable
from fortress.domains.identity.repository import EmailChangeRepository, MailedTokenRepository
from fortress.errors import FieldError, Invalid
from fortress.limits.limiter import Limiter
from fortress.limits.policy import Limit, per_hour, strict
from fortress.security import SYSTEM
from fortress.security.encoding import framed
from fortress.security.keys import KeyRing

LIFETIMES: Final = {MailedPurpose.VERIFY_EMAIL: timedelta(hours=24), MailedPurpose.RESET_PASSWORD: timedelta(minutes=30)}
# As many as can be sent while the longest-lived lives would be many; these may wait at once, and further ones are not made.
MOST_WAITING: Final = 20
MAILS: Final[Limit] = strict(per_hour(5))
_BYTES: Final = 32
_STATE_PURPOSE: Final = "account-state"
_ROUNDS: Final = 100


class MailedTokens:
    """Makes tokens, and takes them back."""

    def __init__(
        self,
        database: Database,
        tokens: MailedTokenRepository,
        changes: EmailChangeRepository,
        limiter: Limiter,
        ring: KeyRing,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._changes = changes
        self._limiter = limiter
        self._ring = ring
        self._clock = clock
        self._ids = ids

    async def may_send(self, purpose: str, email: str) -> bool:
        """Whether one more mail may go to this address, whoever has asked: so nobody's mailbox can be flooded from here."""
        return (await self._limiter.charge(MAILS, f"mail|{purpose}|{comparable(email)}")).allowed

    async def issue(self, unit: Unit, user: User, purpose: MailedPurpose) -> str | None:
        """A new token for a person; None while too many of theirs wait. Those that wait stay good."""
        if await self._tokens.waiting(unit, user=user.id, purpose=purpose, now=self._clock.now()) >= MOST_WAITING:
            return None
        return await self.first(unit, user, purpose)

    async def first(self, unit: Unit, user: User, purpose: MailedPurpose) -> str:
        """A token for a person who is new in this unit, so that none of theirs can wait."""
        now, text = self._clock.now(), new_token()
        token = MailedToken(
            id=self._ids.new(),
            user_id=user.id,
            purpose=purpose,
            digest=digest_of(text),
            bound=self.states(user, purpose)[0],
            created_at=now,
            expires_at=now + LIFETIMES[purpose],
        )
        await self._tokens.add(unit, token)
        return text

    async def find(self, text: str, purpose: MailedPurpose) -> MailedToken:
        """The token, not used yet. Raises Invalid."""
        reader = self._database.reader(SYSTEM)
        found = await self._tokens.good.maybe(reader, digest=digest_of(text), purpose=purpose, now=self._clock.now())
        if found is None:
            raise invalid_token()
        return found

    async def use(self, unit: Unit, text: str, purpose: MailedPurpose) -> MailedToken:
        """The token, used up with this unit's commit, and the person's others of its kind with it.

        Raises:
            Invalid: unknown, used, expired.
        """
        found = await self._tokens.take(unit, digest=digest_of(text), purpose=purpose, now=self._clock.now())
        if not found:
            raise invalid_token()
        token: MailedToken = found[0]
        await self._tokens.forget_of(unit, user=token.user_id, purpose=purpose)
        return token

    def still_binds(self, bound: bytes, user: User, purpose: str) -> bool:
        """Whether the account is as it was when this was bound to it, for all that the purpose is about."""
        return any(hmac.compare_digest(bound, state) for state in self.states(user, purpose))

    def states(self, user: User, purpose: str) -> list[bytes]:
        """Keyed digests of what the purpose is about, by every key that counts; the one in use first."""
        password = user.password_hash or "" if purpose == MailedPurpose.RESET_PASSWORD else ""
        state = framed(purpose.encode(), user.id.bytes, comparable(user.email).encode(), password.encode())
        return [hmac.digest(key.material.reveal(), state, "sha256") for key in self._ring.secrets(_STATE_PURPOSE)]

    async def forget_expired(self) -> int:
        """Delete what nobody used in time; how many there were."""
        gone = 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                before = self._clock.now()
                forgotten = await self._tokens.forget(unit, before=before) + await self._changes.forget(unit, before=before)
            gone += forgotten
            if not forgotten:
                break
        return gone


def new_token() -> str:
    """The text of a token."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(text: str) -> bytes:
    """All that is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def invalid_token() -> Invalid:
    """What to say of a token that does not hold, whatever is the matter."""
    return Invalid([FieldError("/token", "This is not valid, or not any more. Ask for another one.", "token.invalid")])
