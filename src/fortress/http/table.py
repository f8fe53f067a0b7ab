"""Every address that is served, worked out once at start: versions, unknown paths and methods included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from fortress.clock import Clock
from fortress.errors import CannotStart, MethodNotAllowed, NotFound, Refusal
from fortress.http.answers import Answer
from fortress.http.binding import Call, Provide, bind, read_signature, signature_of
from fortress.http.endpoint import Endpoint, Measure
from fortress.http.headers import SECURITY, Ending, ending_headers
from fortress.http.inputs import PATCHES
from fortress.http.request import Request
from fortress.http.router import Router
from fortress.http.routes import Route
from fortress.http.versions import Passages, ending_on
from fortress.limits.policy import Limit, per_minute
from fortress.security.permissions import PUBLIC, PermissionTable
from fortress.security.proof import proof_of

UNMATCHED_LIMIT: Final = per_minute(120, group="unmatched")
OPTIONS_LIMIT: Final = per_minute(240, group="options")
_UNMATCHED: Final = "unmatched"
MeasureOf = Callable[[str, str], Measure]


class RouteTable:
    """The endpoints of one assembled project.

    Args:
        routes: of every domain and of the runtime.
        current: the newest API version; all from 1 on are served.
        provide: gives a handler the services that it asks for.
        measure: gives the counter of a method and template.
        max_body: bytes; a route's own bound may only be lower.
        passages: the way from the handlers' shapes to those of older versions.
        clock: tells when a version has ended.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        current: int,
        permissions: PermissionTable,
        provide: Provide,
        measure: MeasureOf,
        max_body: int,
        passages: Passages,
        clock: Clock,
    ) -> None:
        self._current = current
        self._permissions = permissions
        self._provide = provide
        self._measure = measure
        self._max_body = max_body
        self._passages = passages
        self._clock = clock
        self._router: Router[Endpoint] = Router()
        self._missing: dict[str, Endpoint] = {}
        self.endpoints: list[Endpoint] = []
        for route in routes:
            self._add(route)
        self.malformed = self._open(_UNMATCHED, _UNMATCHED, UNMATCHED_LIMIT, _nothing)
        self._not_found = self._open(_UNMATCHED, _UNMATCHED, UNMATCHED_LIMIT, _refusing(NotFound()))

    def find(self, method: str, path: str) -> tuple[Endpoint, tuple[Any, ...]]:
        """The endpoint for a request, and its path's values; there is always one, if only to say no."""
        by_method, values = self._router.find(path)
        endpoint = by_method.get(method)
        if endpoint is not None:
            return endpoint, values
        return (self._other(method, by_method) if by_method else self._not_found), ()

    def _add(self, route: Route) -> None:
        for version in self._versions(route):
            endpoint = self._endpoint(route, version)
            self.endpoints.append(endpoint)
            try:
                self._router.add(route.verb, endpoint.template, endpoint)
                if route.verb == "GET":
                    self._router.add("HEAD", endpoint.template, endpoint)
            except ValueError as error:
                raise CannotStart(f"{error} ({route.place})") from None

    def _versions(self, route: Route) -> Iterable[int]:
        if not route.versioned:
            return (0,)
        return range(route.policy.get("since", 1), min(route.policy.get("until", self._current), self._current) + 1)

    def _endpoint(self, route: Route, version: int) -> Endpoint:
        policy = route.policy
        prefix = f"/api/v{version}" if version else ""
        template = prefix + route.path
        declared = read_signature(route)
        passage = self._passages.of(declared.body, declared.returns, version)
        ending = passage.ending or self._ending(route)
        call = bind(route, self._provide, passage)
        need = self._permissions.need(policy["allow"])
        return Endpoint(
            route=route,
            template=template,
            prefix=prefix,
            need=need,
            limit=policy["limit"],
            limit_name=policy["limit"].group or f"{route.verb} {route.path}",
            call=ending_on(ending, self._clock, call) if ending else call,
            headers=(*ending_headers(ending, route.path), *SECURITY) if ending else SECURITY,
            measure=self._measure(route.verb, template),
            max_body=min(policy.get("max_body", self._max_body), self._max_body),
            identified=bool(need.mask) or declared.principal is not None,
            signature=signature_of(route, passage),
            ending=ending,
            proof=proof_of(policy.get("fresh"), policy.get("factor", 1)),
        )

    def _ending(self, route: Route) -> Ending | None:
        """The end that a route declares itself."""
        until = route.policy.get("until")
        if until is None or until >= self._current:
            return None
        return Ending(until, route.policy.get("deprecated"), route.policy.get("sunset"))

    def _other(self, method: str, by_method: Mapping[str, Endpoint]) -> Endpoint:
        """The answer to a method that a known path does not have: OPTIONS is answered, the rest is refused."""
        allowed = ", ".join(sorted({*by_method, "OPTIONS"}))
        key = f"{'OPTIONS' if method == 'OPTIONS' else '*'} {allowed}"
        endpoint = self._missing.get(key)
        if endpoint is None:
            endpoint = self._missing[key] = self._method_answer(method, allowed)
        return endpoint

    def _method_answer(self, method: str, allowed: str) -> Endpoint:
        if method == "OPTIONS":
            return self._open("options", "OPTIONS", OPTIONS_LIMIT, _allowing(allowed, patched="PATCH" in allowed))
        return self._open(_UNMATCHED, _UNMATCHED, UNMATCHED_LIMIT, _refusing(MethodNotAllowed(headers={"allow": allowed})))

    def _open(self, template: str, verb: str, limit: Limit, call: Call) -> Endpoint:
        return Endpoint(
            template=template,
            prefix="",
            need=self._permissions.need(PUBLIC),
            limit=limit,
            limit_name=limit.group or template,
            call=call,
            headers=SECURITY,
            measure=self._measure(verb, template),
            max_body=self._max_body,
            identified=False,
        )


def _refusing(refusal: Refusal) -> Call:
    kind, headers = type(refusal), refusal.headers

    async def call(_request: Request) -> Answer:
        raise kind(headers=headers)

    return call


def _allowing(allowed: str, *, patched: bool) -> Call:
    told = {"allow": allowed} | (PATCHES.listed if patched else {})
    headers = tuple((name.encode(), value.encode()) for name, value in told.items())

    async def call(_request: Request) -> Answer:
        return Answer(204, headers=headers)

    return call


async def _nothing(_request: Request) -> Answer:
    raise NotFound
