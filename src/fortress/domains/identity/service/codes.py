"""Codes: of authenticator apps (TOTP, RFC 6238), and recovery codes. Each is good once (ASVS V6.5.1)."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec
import pyotp

from fortress.clock import Clock, Ids
from fortress.data import Unit
from fortress.domains.identity.models import Authenticator, RecoveryCode
from fortress.domains.identity.repository import AuthenticatorRepository, RecoveryCodeRepository
from fortress.domains.identity.service.challenges import digest_of
from fortress.errors import Refusal, TooManyRequests

STEP_SECONDS: Final = 30
DIGITS: Final = 6
RECOVERY_CODES: Final = 10
MOST_MISSES: Final = 10
MISSES_WITHIN: Final = timedelta(hours=3)
_SECRET_BYTES: Final = 20
_RECOVERY_BYTES: Final = 15
_GROUP: Final = 4


class CodeKind(StrEnum):
    """What a code was of."""

    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"


class Checked(msgspec.Struct, frozen=True):
    """What became of a code.

    Attributes:
        kind: of a good one; None: it was not good.
        exhausted: this wrong code was the last that the account's app may be tried with for now.
        wait: seconds until codes of the app are looked at again, when there were too many wrong ones.
    """

    kind: CodeKind | None = None
    exhausted: bool = False
    wait: int = 0

    def refusal(self, otherwise: Refusal) -> Refusal:
        """What to answer when it was not good."""
        return TooManyRequests(self.wait, "Too many wrong codes. Use a passkey or a recovery code, or wait.") if self.wait else otherwise


WRONG: Final = Checked()


class Codes:
    """Makes codes and secrets, and checks them once."""

    def __init__(self, authenticators: AuthenticatorRepository, recovery: RecoveryCodeRepository, clock: Clock, ids: Ids) -> None:
        self._authenticators = authenticators
        self._recovery = recovery
        self._clock = clock
        self._ids = ids

    async def use(self, unit: Unit, user: UUID, code: str) -> Checked:
        """Use a code up. Wrong ones are counted, so the unit must be committed whatever comes of it.

        Six digits are a code of the app and everything else a recovery code: these can't be guessed, and go on working for
        their owner when somebody who knows the password has used up the tries of the app.
        """
        if is_totp(code):
            return await self._totp(unit, user, code)
        used = await self._recovery.use(unit, user=user, digest=digest_of_recovery(code))
        return Checked(CodeKind.RECOVERY_CODE) if used else WRONG

    async def confirm(self, unit: Unit, user: UUID, code: str) -> bool:
        """Turn the app on whose first code this is."""
        held = await self._authenticators.held.maybe(unit, user=user)
        if held is None or held.confirmed_at is not None:
            return False
        step = step_of(held.secret, code, self._clock.now())
        if step is None:
            return False
        return bool(await self._authenticators.confirm(unit, user=user, step=step, now=self._clock.now()))

    async def renew_recovery(self, unit: Unit, user: UUID) -> list[str]:
        """Ten new recovery codes in place of those there were; nobody can show them again."""
        await self._recovery.drop(unit, user=user)
        codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
        now = self._clock.now()
        await self._recovery.add_all(unit, [RecoveryCode(self._ids.new(), user, digest_of_recovery(code), now) for code in codes])
        return codes

    async def _totp(self, unit: Unit, user: UUID, code: str) -> Checked:
        held = await self._authenticators.held.maybe(unit, user=user)
        if held is None or held.confirmed_at is None:
            return WRONG
        now = self._clock.now()
        if wait := seconds_to_wait(held, now):
            return Checked(wait=wait)
        step = step_of(held.secret, code, now)
        if step is not None and await self._authenticators.accept(unit, user=user, step=step):
            return Checked(CodeKind.TOTP)
        misses = await self._authenticators.missed(unit, user=user, now=now, before=now - MISSES_WITHIN)
        return Checked(exhausted=misses == [MOST_MISSES])


def new_secret() -> bytes:
    """160 random bits, as RFC 4226 §4 recommends."""
    return secrets.token_bytes(_SECRET_BYTES)


def spelled(secret: bytes) -> str:
    """A secret as people type it into their app: base32 (RFC 4648 §6)."""
    return base64.b32encode(secret).decode("ascii")


def provisioning_uri(secret: bytes, account: str, site: str) -> str:
    """What a QR code for authenticator apps holds."""
    return pyotp.TOTP(spelled(secret)).provisioning_uri(name=account, issuer_name=site)


def is_totp(code: str) -> bool:
    """Whether this has the form of an app's code, as people type it."""
    bare = code.replace(" ", "")
    return len(bare) == DIGITS and bare.isascii() and bare.isdigit()


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step whose code this is: the present one, or one before or after it (RFC 6238 §5.2); None: none's."""
    bare = code.replace(" ", "").encode("utf-8", "surrogatepass")
    current = int(now.timestamp()) // STEP_SECONDS
    one_time = pyotp.HOTP(spelled(secret))
    found = None
    for step in (current - 1, current, current + 1):
        # Each is compared, whatever came before, so that the time tells nothing.
        if hmac.compare_digest(one_time.at(step).encode("ascii"), bare):
            found = step
    return found


def seconds_to_wait(held: Authenticator, now: datetime) -> int:
    """Seconds until an app's codes are looked at again; 0: they are."""
    left = (held.missed_since + MISSES_WITHIN - now).total_seconds()
    return max(1, round(left)) if held.misses >= MOST_MISSES and left > 0 else 0


def new_recovery_code() -> str:
    """120 random bits in six groups of four letters and digits."""
    letters = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode("ascii").lower()
    return "-".join(letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


def digest_of_recovery(code: str) -> bytes:
    """What is kept of a recovery code; blanks, hyphens and case don't matter."""
    return digest_of("".join(letter for letter in code if letter not in " -").lower())
