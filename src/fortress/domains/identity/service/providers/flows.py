"""Sign-ins under way: begun in one browser, finished once, in the same one, within ten minutes (ASVS V10.1.2, V10.2.1).

The browser keeps 256 random bits in a cookie that scripts can't read; the provider sends back 256 other ones, the state.
Nonce and PKCE verifier are made of both, so they are known for as long as the sign-in takes and to nobody but who holds
the cookie; the database holds two digests. A state in another browser, or a second time, finds no row.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.domains.identity.contract import ProviderDeclined, ProviderFlowLost
from fortress.domains.identity.models import FlowPurpose, ProviderFlow
from fortress.domains.identity.repository import ProviderFlowRepository
from fortress.domains.identity.service.providers.client import Proved, Question
from fortress.domains.identity.service.providers.configured import ConfiguredProviders
from fortress.domains.identity.service.providers.refusals import Fault, Untrusted
from fortress.errors import FieldError, Invalid, Refusal
from fortress.security import ANONYMOUS, SYSTEM, Principal
from fortress.security.encoding import to_base64url
from fortress.settings import Settings

LIFE: Final = timedelta(minutes=10)
_BYTES: Final = 32
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_ROUNDS: Final = 100


class Wish(msgspec.Struct, frozen=True):
    """What a sign-in with a provider is begun for.

    Attributes:
        return_to: the path of ours where the browser goes in the end; None: the first of the settings.
        fresh: whether the provider shall ask the person anew.
        linker: who wants to link an identity, in a session of theirs; None: somebody wants to sign in.
    """

    provider: str
    return_to: str | None = None
    fresh: bool = False
    linker: Principal | None = None


class Begun(msgspec.Struct, frozen=True):
    """Where the person goes, and what their browser keeps meanwhile."""

    authorization_url: str
    browser: str

    def __repr__(self) -> str:
        return "Begun(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Response(msgspec.Struct, frozen=True):
    """What came back from the provider, by way of the browser (RFC 6749 §4.1.2), and what the browser kept.

    Attributes:
        code: None where the provider said no.
        issuer: `iss` (RFC 9207).
        browser: what was in the cookie.
    """

    state: str
    code: str | None
    issuer: str | None
    browser: str | None

    def __repr__(self) -> str:
        return "Response(hidden)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class ProviderFlows:
    """Begins and finishes sign-ins with providers; whose they become is for others to say."""

    def __init__(
        self,
        database: Database,
        flows: ProviderFlowRepository,
        providers: ConfiguredProviders,
        settings: Settings,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._flows = flows
        self._providers = providers
        self._return_paths: Sequence[str] = settings.return_paths
        self._clock = clock
        self._ids = ids

    async def begin(self, wish: Wish, browser: str | None) -> Begun:
        """A sign-in under way.

        Args:
            wish: for what.
            browser: what this browser kept of an earlier one; it is used on, so that two windows don't disturb each other.

        Raises:
            UnknownProvider: there is none of this name.
            Invalid: the path is none that a sign-in may end at.
            NoFreshProof: the provider can't ask anew.
            ProviderUnavailable, ProviderNotTrusted: the provider's metadata can't be had, or does not hold.
        """
        client = self._providers.client(wish.provider)
        kept = browser if browser is not None and _SECRET.fullmatch(browser) else secrets.token_urlsafe(_BYTES)
        return_to = self._allowed(wish.return_to)
        max_age = self._providers.fresh_seconds(wish.provider) if wish.fresh else None
        state, linker = secrets.token_urlsafe(_BYTES), wish.linker
        purpose = FlowPurpose.LINK if linker else FlowPurpose.SIGN_IN
        try:
            url = await client.authorization_url(question_of(state, kept, max_age))
        except Refusal as refusal:
            await self.refused(wish.provider, purpose, refusal)
            raise
        async with self._database.unit(linker or ANONYMOUS) as unit:
            await self._flows.add(
                unit,
                ProviderFlow(
                    id=self._ids.new(),
                    state_digest=_digest(state),
                    browser_digest=_digest(kept),
                    provider=wish.provider,
                    purpose=purpose,
                    max_age=max_age,
                    return_to=return_to,
                    user_id=linker.id if linker else None,
                    session_id=linker.session if linker else None,
                    expires_at=self._clock.now() + LIFE,
                ),
            )
        return Begun(url, kept)

    async def take(
        self, provider: str, response: Response, purpose: FlowPurpose | None = None, linker: Principal | None = None
    ) -> ProviderFlow:
        """The sign-in that this response belongs to; from now on there is none.

        Args:
            provider: whose response it is said to be.
            response: what came back.
            purpose: what it must have been begun for; None: whatever it was.
            linker: who must have begun it; None: whoever did.

        Raises:
            UnknownProvider: there is none of this name.
            ProviderFlowLost: it was begun elsewhere, with another provider, for something or somebody else, too long ago, or is over.
        """
        self._providers.client(provider)
        async with self._database.unit(ANONYMOUS) as unit:
            taken = await self._flows.take(unit, state=_digest(response.state), browser=_digest(response.browser or ""))
            reason = "unknown" if not taken else self._why_not(taken[0], provider, purpose, linker)
            if reason is None:
                return taken[0]
            unit.audit("auth.provider_flow_lost", detail={"provider": provider, "reason": reason})
        raise ProviderFlowLost

    async def proved(self, flow: ProviderFlow, response: Response) -> Proved:
        """Who came back. No connection is held while the provider is asked.

        Raises:
            ProviderDeclined: the provider said no.
            ProviderNotTrusted: what it said does not hold.
            ProviderUnavailable: it does not answer.
        """
        client = self._providers.client(flow.provider)
        try:
            await client.check_issuer(response.issuer)
            if response.code is None:
                raise ProviderDeclined
            question = question_of(response.state, response.browser or "", flow.max_age)
            return await client.redeem(response.code, response.issuer, question)
        except Refusal as refusal:
            await self.refused(flow.provider, flow.purpose, refusal, flow.user_id)
            raise

    async def refused(self, provider: str, purpose: FlowPurpose, refusal: Refusal, person: UUID | None = None) -> None:
        """Write to the log that a sign-in came to nothing, and why; nothing that the provider wrote is in it."""
        fault: Fault | None = refusal.fault if isinstance(refusal, Untrusted) else None
        detail = {"provider": provider, "purpose": purpose, "code": refusal.code, "fault": fault}
        async with self._database.unit(ANONYMOUS) as unit:
            unit.audit("auth.provider_refused", target=person, detail={name: said for name, said in detail.items() if said})

    def title_of(self, provider: str) -> str:
        """What people call this provider; its name, once it is not configured any more."""
        return next((one.title for one in self._providers.offered() if one.name == provider), provider)

    async def forget_old(self) -> int:
        """Delete those that nobody finished in time; how many there were."""
        gone = 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._flows.forget(unit, now=self._clock.now())
            gone += forgotten
            if not forgotten:
                break
        return gone

    def _why_not(self, flow: ProviderFlow, provider: str, purpose: FlowPurpose | None, linker: Principal | None) -> str | None:
        """What of a sign-in under way does not fit how somebody wants to finish it."""
        for fits, reason in (
            (flow.provider == provider, "provider"),
            (self._clock.now() < flow.expires_at, "expired"),
            (purpose in (None, flow.purpose), "purpose"),
            (linker is None or (linker.id, linker.session) == (flow.user_id, flow.session_id), "person"),
        ):
            if not fits:
                return reason
        return None

    def _allowed(self, path: str | None) -> str:
        if path is None:
            return self._return_paths[0]
        if path not in self._return_paths:
            raise Invalid([FieldError("/redirect_to", "A sign-in can't end at this path", "path.not_allowed")])
        return path


def question_of(state: str, browser: str, max_age: int | None) -> Question:
    """What was, or will be, asked in this state by this browser. Pure."""
    return Question(state, _derived(browser, b"nonce", state), _derived(browser, b"verifier", state), max_age)


def _derived(browser: str, purpose: bytes, state: str) -> str:
    """43 letters that follow from both secrets: HMAC-SHA-256 under the browser's own."""
    return to_base64url(hmac.digest(browser.encode(), purpose + b"\0" + state.encode(), "sha256"))


def _digest(text: str) -> bytes:
    """SHA-256: what is digested has 256 random bits, so a fast hash is enough (ASVS V6.5.2)."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
