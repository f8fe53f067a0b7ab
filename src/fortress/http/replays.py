"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): what is asked for twice is done once, and answered the same."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final

from fortress.clock import Clock, Ids
from fortress.context import current
from fortress.data.claims import Claim, KeptAnswer, KeptAnswers, KnownAnswer, claims
from fortress.data.database import Database
from fortress.data.retry import retrying
from fortress.errors import BadRequest
from fortress.http.answers import Answer, Header
from fortress.http.request import Request
from fortress.security import SYSTEM
from fortress.security.encoding import framed
from fortress.security.keys import KeyRing
from fortress.settings import Settings

Act = Callable[[], Awaitable[Answer]]

HEADER: Final = b"idempotency-key"
KEY_PATTERN: Final = "^[!#-~]{1,255}$"
_KEY: Final = re.compile(rb'[\x21\x23-\x7e]{1,255}|"[\x20\x21\x23-\x7e]{1,255}"')
_PURPOSE: Final = "idempotency"
_DIGEST: Final = 32
_REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")


class Replays:
    """Answers again what was answered before.

    A key is its caller's own, and of one route in one version; it counts for `FORTRESS_IDEMPOTENCY_HOURS`.
    """

    def __init__(self, database: Database, ring: KeyRing, settings: Settings, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._ring = ring
        self._life = timedelta(hours=settings.idempotency_hours)
        self._clock = clock
        self._ids = ids
        self._answers = KeptAnswers()

    async def answer(self, request: Request, route: str, act: Act) -> Answer:
        """What comes of acting, or what came of it the first time.

        Args:
            request: its body has been read.
            route: the route's name.
            act: acts in one unit of work, and makes the answer.

        Raises:
            BadRequest: the key is malformed.
            InFlight: the first request with this key is not answered yet.
            Mismatch: the key was used for another request.
        """
        given = request.head.get(HEADER)
        if given is None:
            return await retrying(act, current.get())
        if not _KEY.fullmatch(given):
            raise BadRequest("An Idempotency-Key has 1 to 255 visible ASCII characters.")
        who, since = request.principal.id.bytes, self._clock.now() - self._life
        scope = self._digest(who, request.prefix.encode(), route.encode(), given.strip(b'"'))
        fingerprint = self._digest(request.method.encode(), request.path.encode(), request.query, await request.body())
        try:
            return await retrying(lambda: self._acted(Claim(scope, fingerprint, since), request, act), current.get())
        except KnownAnswer:
            kept = await self._answers.of_scope(self._database.reader(SYSTEM), scope=scope, since=since)
            return _again(kept)

    async def _acted(self, claim: Claim, request: Request, act: Act) -> Answer:
        token = claims.set(claim)
        try:
            answer = await act()
            kept = self._kept(claim, request, answer)
        except BaseException as error:
            await claim.abandon(error)
            raise
        finally:
            claims.reset(token)
        await claim.settle(kept)
        return answer

    def _kept(self, claim: Claim, request: Request, answer: Answer) -> KeptAnswer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        return KeptAnswer(
            id=self._ids.new(),
            user_id=request.principal.id,
            scope=claim.scope,
            fingerprint=claim.fingerprint,
            status=answer.status,
            headers=headers,
            body=answer.body,
            created_at=self._clock.now(),
        )

    def _digest(self, *parts: bytes) -> bytes:
        """Keyed, for requests hold what is personal."""
        key = self._ring.secret(_PURPOSE).material.reveal()
        return blake2b(framed(*parts), digest_size=_DIGEST, key=key).digest()


def _again(kept: KeptAnswer) -> Answer:
    headers: list[Any] = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers.items()]
    return Answer(kept.status, kept.body, (*headers, _REPLAYED))
