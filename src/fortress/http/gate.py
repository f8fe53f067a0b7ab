"""The one door. Every request passes it, unknown paths and malformed ones too, in this order:
identify → authorize → limit → handler; on the way out headers, one log line, metrics.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Protocol

from fortress.clock import Clock
from fortress.context import current
from fortress.errors import Forbidden, Refusal, TooManyRequests, Unauthenticated, Unavailable
from fortress.failpoints import AFTER_COMMIT_BEFORE_ANSWER
from fortress.http.answers import Answer, Header
from fortress.http.compression import SMALLEST, compressed
from fortress.http.endpoint import Endpoint
from fortress.http.headers import replacing
from fortress.http.identify import Identify, NoCredentials
from fortress.http.inflight import InFlight
from fortress.http.problems import ErrorShape, Fault, Incident
from fortress.http.request import Request
from fortress.http.streams import Stream
from fortress.limits.limiter import Limiter, Verdict, limit_key
from fortress.security.permissions import Need, Reach
from fortress.security.principal import Principal
from fortress.security.proof import SecondFactorRequired
from fortress.security.uses import Uses

CLOSE: Final[Header] = (b"connection", b"close")
MAX_METHOD: Final = 16
# Answers that have no body, and so no length of one (RFC 9110 §8.6).
BODILESS: Final = (204, 304)


class Report(Protocol):
    """Where the gate tells what happened."""

    def request(self, line: dict[str, Any]) -> None:
        """One line for one request."""
        ...

    def refused(self, code: str) -> None:
        """A refusal was answered."""
        ...

    def fault(self, error: BaseException) -> None:
        """Something broke that nobody foresaw."""
        ...


class Gate:
    """Lets requests through to their endpoints.

    Args:
        identify: who asks.
        limiter: how often they may.
        shape: how refusals look.
        report: log and metrics.
        uses: notes which grants callers use.
        inflight: the requests under way and their deadline.
        draining: True while the server is being drained; answers then close their connections.
    """

    def __init__(
        self,
        *,
        identify: Identify,
        limiter: Limiter,
        shape: ErrorShape,
        report: Report,
        uses: Uses,
        clock: Clock,
        inflight: InFlight,
        draining: Callable[[], bool],
    ) -> None:
        self._identify = identify
        self._limiter = limiter
        self._shape = shape
        self._report = report
        self._uses = uses
        self._clock = clock
        self._inflight = inflight
        self._draining = draining

    async def answer(self, request: Request, endpoint: Endpoint) -> Answer:
        """The answer to a request; refusals and faults are answers too."""
        started = perf_counter()
        current.set(request.context)
        verdict: Verdict | None = None
        try:
            refusal = await self._admit(request, endpoint)
            key = limit_key(endpoint.limit_name, request.principal, request.context.address)
            verdict = self._limiter.spend(endpoint.limit, key) or await self._limiter.charge(endpoint.limit, key)
            if not verdict.allowed:
                refusal = TooManyRequests(verdict.retry_after)
            if refusal is not None:
                raise refusal
            answer = await endpoint.call(request)
            if isinstance(answer, Stream) or len(answer.body) >= SMALLEST:
                answer = await _ready(answer, request)
            if AFTER_COMMIT_BEFORE_ANSWER.armed and request.context.committed:
                await AFTER_COMMIT_BEFORE_ANSWER.reached()
        except Refusal as error:
            answer = self._refuse(error, request)
        except CancelledError:
            if not self._inflight.overdue():
                raise
            answer = self._refuse(Unavailable("It took too long."), request)
        except Exception as error:
            self._report.fault(error)
            answer = self._refuse(Fault(), request)
        self._finish(answer, request, endpoint, verdict)
        if isinstance(answer, Stream):
            self._tell_at_the_end(answer, request, endpoint, started)
        else:
            self._tell(answer, request, endpoint, perf_counter() - started, len(answer.body))
        return answer

    async def refuses_still(self, request: Request, endpoint: Endpoint) -> Refusal | None:
        """Why the caller of a stream under way may not have more of it; None: they may."""
        return await self._admit(request, endpoint)

    def broke(self, error: BaseException) -> None:
        """A stream broke off, when its head was long sent: what was refused is counted, and what failed is told."""
        if isinstance(error, Refusal):
            self._report.refused(error.code)
        else:
            self._report.fault(error)

    async def _admit(self, request: Request, endpoint: Endpoint) -> Refusal | None:
        """Identify and authorize. A refusal is returned, not raised, so that refused requests are limited too."""
        refused = request.refused
        if refused is None and endpoint.identified:
            try:
                caller = self._identify.known(request) or await self._identify.verify(request)
            except Refusal as error:
                return error
            request.principal = request.context.principal = caller
            need = endpoint.need
            if need.mask:
                if not caller.grants & need.mask:
                    return _denied(caller, need)
                request.principal = caller.reaching(Reach.ANY if caller.grants & need.anyone else Reach.OWN)
            if endpoint.proof is not None:
                refused = endpoint.proof.lacking(caller, self._clock.now().timestamp())
            if refused is None and need.mask:
                self._uses.note(caller, need)
        return refused

    def _refuse(self, refusal: Refusal, request: Request) -> Answer:
        self._report.refused(refusal.code)
        answer = self._shape.render(refusal, Incident(request.context.request_id, request.path, self._clock.now()))
        if refusal.cookies:
            answer.headers = [*answer.headers, *refusal.cookies]
        return answer

    def _finish(self, answer: Answer, request: Request, endpoint: Endpoint, verdict: Verdict | None) -> None:
        """Every answer carries the same set of headers, whatever became of the request."""
        defaults = replacing(endpoint.headers, answer.headers) if answer.replaces else endpoint.headers
        headers = [*answer.headers, *defaults, (b"x-request-id", request.context.request_id.encode())]
        if verdict is not None:
            headers += verdict.headers
        if answer.status not in BODILESS and not isinstance(answer, Stream):
            headers.append((b"content-length", b"%d" % len(answer.body)))
        if self._draining():
            headers.append(CLOSE)
        answer.headers = headers

    def _tell_at_the_end(self, stream: Stream, request: Request, endpoint: Endpoint, started: float) -> None:
        def ended(how: str, sent: int) -> None:
            self._tell(stream, request, endpoint, perf_counter() - started, sent, ended=how)

        stream.ended = ended

    def _tell(self, answer: Answer, request: Request, endpoint: Endpoint, seconds: float, sent: int, **more: str) -> None:
        endpoint.measure.observe(answer.status, seconds)
        context = request.context
        self._report.request({
            "event": "request",
            "request_id": context.request_id,
            "method": request.method[:MAX_METHOD],
            "route": endpoint.template,
            "status": answer.status,
            "ms": round(seconds * 1000, 2),
            "principal": None if context.principal.anonymous else context.principal.id,
            "address": context.address,
            "bytes": sent,
            **more,
        })  # fmt: skip


async def _ready(answer: Answer, request: Request) -> Answer:
    """A stream is begun, for it may fail yet; what is large is compressed where it may be."""
    if not isinstance(answer, Stream):
        return await compressed(answer, request)
    await answer.begin()
    return answer


def _denied(caller: Principal, need: Need) -> Unauthenticated | Forbidden:
    if caller.anonymous:
        return NoCredentials()
    return SecondFactorRequired() if caller.locked & need.mask else Forbidden()
