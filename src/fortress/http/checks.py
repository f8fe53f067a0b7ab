"""What must be true of the routes and roles before anything is served (rules API001, API002, API003 and AUTH004)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from fortress.errors import BrokenRule
from fortress.http.binding import read_signature
from fortress.http.routes import Route
from fortress.http.versions import Past, shape_within
from fortress.limits.policy import Limit
from fortress.security.permissions import Everything, Permission, Public, Role


def route_breaches(declared: Iterable[Any]) -> Iterator[BrokenRule]:
    """The rules that these routes break; anything that is not a Route has no policy at all."""
    for item in declared:
        yield from _of_route(item) if isinstance(item, Route) else (_foreign(item),)


def past_breaches(pasts: Iterable[tuple[str, Past]], declared: Iterable[Any], current: int) -> Iterator[BrokenRule]:
    """The rules that these pasts break: each ends, before the current version, and changes what some route has.

    Args:
        pasts: each with the name of the domain that declares it.
        declared: the routes of every domain.
        current: the newest version.
    """
    signatures = [read_signature(item) for item in declared if isinstance(item, Route)]
    known = {shape_within(one.returns) for one in signatures} | {one.body for one in signatures}
    for domain, past in sorted(pasts, key=lambda pair: -pair[1].version):
        where = f"domain {domain}"
        if not 1 <= past.version < current:
            yield BrokenRule("API003", f"the past of v{past.version} is not past", where, f"The current version is v{current}.")
        if past.sunset < past.deprecated:
            yield BrokenRule("API003", f"v{past.version} stops before it is discouraged", where, "Clients need time (RFC 9745).")
        for name, newer, older in past.changes():
            if newer not in known:
                why = "No route has the shape that it starts from, so it would never run. Name the handler's own shape, or take it out."
                yield BrokenRule("API003", f"{name} changes nothing in v{past.version}", where, why)
            known.add(older)


def role_breaches(roles: Iterable[tuple[str, Role]], declared: Iterable[Any], owner: str) -> Iterator[BrokenRule]:
    """The rules that these roles break: each holds what some route needs and no more, and only `owner` everything.

    Args:
        roles: each with the name of the domain that declares it.
        declared: the routes of every domain.
        owner: the name of the one role that may do everything.
    """
    needed = {allow.name for item in declared if isinstance(item, Route) and isinstance(allow := item.policy.get("allow"), Permission)}
    for domain, role in roles:
        if isinstance(role.grants, Everything):
            if role.name != owner:
                why = f"Only {owner} may do everything. Name the grants."
                yield BrokenRule("AUTH004", f"role {role.name} may do everything", f"domain {domain}", why)
            continue
        held = dict.fromkeys(grant.name if isinstance(grant, Permission) else grant.permission.name for grant in role.grants)
        for name in held:
            if name not in needed:
                why = "What nobody needs, somebody will misuse. Take it out of the role, or offer the route that it is for."
                yield BrokenRule("AUTH004", f"role {role.name} holds {name}, which no route needs", f"domain {domain}", why)


def _of_route(route: Route) -> Iterator[BrokenRule]:
    what = f"{route.verb} {'/api/v*' if route.versioned else ''}{route.path}"
    if not isinstance(route.policy.get("allow"), Permission | Public):
        why = "A route without `allow=` is open to everyone. Say who may, or allow=PUBLIC."
        yield BrokenRule("API001", f"{what} has no permission", route.place, why)
    if not isinstance(route.policy.get("limit"), Limit):
        why = "A route without `limit=` can be called without end. Say how often, e.g. limit=per_minute(60)."
        yield BrokenRule("API002", f"{what} has no limit", route.place, why)
    since, until = route.policy.get("since", 1), route.policy.get("until")
    if since < 1 or (until is not None and until < since):
        yield BrokenRule("API003", f"{what} is in no version", route.place, "Versions go from `since` to `until`, counted from 1.")
    if route.policy.get("sunset", date.max) < route.policy.get("deprecated", date.min):
        yield BrokenRule("API003", f"{what} stops before it is discouraged", route.place, "Clients need time (RFC 9745).")
    if until is not None and "sunset" not in route.policy:
        why = "Clients must know when it stops. Add deprecated=date(…) and sunset=date(…)."
        yield BrokenRule("API003", f"{what} ends after v{until} without a sunset date", route.place, why)

    if route.policy.get("precondition") and read_signature(route).expected is None:
        why = "Take it as a parameter (`expected: Expected`) and ask it for the row: expected.of(row)."
        yield BrokenRule("API004", f"{what} asks for If-Match and does not look at it", route.place, why)

    if route.policy.get("idempotent") and (route.verb != "POST" or not isinstance(route.policy.get("allow"), Permission)):
        why = "A key is its caller's own, and other verbs are idempotent by themselves (RFC 9110 §9.2.2). Take idempotent=True out."
        yield BrokenRule("API006", f"{what} can't be idempotent by a key", route.place, why)


def _foreign(item: Any) -> BrokenRule:
    name = getattr(item, "__qualname__", None) or repr(item)
    code = getattr(item, "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else type(item).__module__
    why = "Only handlers made by get, post, put, patch and delete pass the gate. Decorate it, and say `allow=` and `limit=`."
    return BrokenRule("API001", f"{name} has no policy", place, why)
