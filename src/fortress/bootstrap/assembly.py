"""What a project's domains add up to, worked out without touching anything outside: roles, permissions, routes, doors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fortress.data.catalogue import OWN
from fortress.data.entity import shape_of
from fortress.data.migration import Branch
from fortress.data.migration.names import runtime_branch
from fortress.data.migration.schema import Schema
from fortress.domain import Domain
from fortress.domains.access.contract import ADMINISTRATOR
from fortress.errors import BrokenRule, BrokenRules, CannotStart
from fortress.events import Fact, Subscriber
from fortress.events.following import FactKinds
from fortress.http import docs, health, wellknown
from fortress.http.checks import past_breaches, role_breaches, route_breaches
from fortress.http.docs import document_route
from fortress.http.routes import Route
from fortress.http.versions import Passages
from fortress.job import Job
from fortress.limits.policy import Limit
from fortress.mail import Kinds
from fortress.security.permissions import PermissionTable

SetLimit = Callable[[Route, Limit], Limit]


class Assembly:
    """The sum of the domains.

    Args:
        current: the newest API version.
        set_limit: a project's own say on any route's limit.

    Raises:
        CannotStart: two domains claim the same name, table, permission or kind of notification.
        BrokenRules: routes without policy and the like, all at once.
    """

    def __init__(self, domains: Sequence[Domain], *, current: int, set_limit: SetLimit | None = None) -> None:
        _refuse_twice("domain", [domain.name for domain in domains])
        _refuse_twice("table", [model.__tablename__ for domain in domains for model in domain.models])
        _refuse_twice("fact", [fact.__name__ for domain in domains for fact in domain.facts])
        _refuse_twice("job", [job.name for domain in domains for job in domain.jobs()])
        _refuse_twice("subscriber", [one.name for domain in domains for one in domain.subscribers()])
        self.domains = tuple(domains)
        self.declared_facts = [fact for domain in domains for fact in domain.facts]
        self.facts = FactKinds(_facts(domains, self.declared_facts))
        self.current = current
        self.permissions = PermissionTable(
            (permission for domain in domains for permission in domain.permissions),
            (role for domain in domains for role in domain.roles),
        )
        self.kinds = Kinds((domain.name, kind) for domain in domains for kind in domain.notifications)
        declared = [item for domain in domains for item in domain.declared_routes()]
        roles = [(domain.name, role) for domain in domains for role in domain.roles]
        breaches: list[BrokenRule] = [*route_breaches(declared), *role_breaches(roles, declared, ADMINISTRATOR)]
        breaches += personal_breaches(domains)
        pasts = [(domain.name, past) for domain in domains for past in domain.versions]
        self.passages = Passages(past for _, past in pasts)
        breaches += past_breaches(pasts, declared, current)
        if breaches:
            raise BrokenRules(breaches)
        routes: list[Route] = [*self._own_routes(), *declared]
        self.routes = routes if set_limit is None else [_limited(route, set_limit) for route in routes]

    @property
    def classes(self) -> list[type[Any]]:
        """Every class that the container may make."""
        return [service for domain in self.domains for service in domain.services]

    @property
    def jobs(self) -> list[Job]:
        """Every domain's work for later."""
        return [job for domain in self.domains for job in domain.jobs()]

    @property
    def subscribers(self) -> list[Subscriber]:
        """What is done when something has happened."""
        return [one for domain in self.domains for one in domain.subscribers()]

    @property
    def doors(self) -> dict[type[Any], type[Any]]:
        """The service behind each domain's door, and behind each port that it serves for others.

        Raises:
            CannotStart: no service of the domain has what is promised.
        """
        promised = [(domain, door) for domain in self.domains for door in (domain.door, *domain.ports) if door is not None]
        return {door: _behind(domain, door) for domain, door in promised}

    def provider_of(self, port: type[Any]) -> type[Any]:
        """The service that has everything a runtime port asks for.

        Raises:
            CannotStart: no domain has one.
        """
        for service in self.classes:
            if all(callable(getattr(service, name, None)) for name in _promised(port)):
                return service
        raise CannotStart(f"no domain provides {port.__name__}", hint="Fortress(domains=[*standard, …])")

    def schema(self) -> Schema:
        """What this release expects of its database."""
        return Schema(self.branches())

    def tables(self) -> list[Any]:
        """Every table, the runtime's own included."""
        return [table for branch in self.branches() for table in branch.tables]

    def branches(self) -> list[Branch]:
        """The migration branches, the runtime's own first."""
        own = runtime_branch([entity.table for entity in OWN])
        return [own, *(Branch(domain.name, domain.migrations, _tables(domain)) for domain in self.domains if domain.migrations)]

    def template_folders(self) -> Mapping[str, Path]:
        """Where each domain's templates are."""
        return {domain.name: domain.templates for domain in self.domains if domain.templates is not None}

    def index_purposes(self) -> list[str]:
        """What personal data is found by: each blind index has keys of its own."""
        shapes = [shape_of(model).personal for domain in self.domains for model in domain.models]
        return [blind.purpose for personal in shapes if personal for blind in personal.blind]

    def personal_names(self) -> frozenset[str]:
        """What fields of personal data are called, in any domain."""
        shapes = [shape_of(model).personal for domain in self.domains for model in domain.models]
        return frozenset(field.name for personal in shapes if personal for field in personal.sealed)

    def _own_routes(self) -> list[Route]:
        documents = [document_route(version) for version in range(1, self.current + 1)]
        return [*health.ROUTES, *docs.ROUTES, *wellknown.ROUTES, *documents]


def personal_breaches(domains: Sequence[Domain]) -> Iterator[BrokenRule]:
    """The domains that keep personal data, and can neither hand it out nor forget it (rule SEC002)."""
    for domain in domains:
        kept = [model.__qualname__ for model in domain.models if shape_of(model).personal]
        if kept and domain.personal is None:
            what = f"domain {domain.name} keeps personal data ({', '.join(kept)}) without personal="
            why = "People may have what is kept of them, and have it forgotten. Name the service that does both: personal=…Records."
            yield BrokenRule("SEC002", what, f"domain {domain.name}", why)


def _facts(domains: Sequence[Domain], declared: Sequence[type[Fact]]) -> list[type[Fact]]:
    """The declared ones, and those of other services that somebody hears."""
    heard = [fact for domain in domains for one in domain.subscribers() for fact in one.facts]
    return list(dict.fromkeys([*declared, *(fact for fact in heard if fact is not Fact)]))


def _limited(route: Route, set_limit: SetLimit) -> Route:
    """The route under the project's limit; the one that was declared is left alone, for another app may serve it too."""
    policy = route.policy.copy()
    policy["limit"] = set_limit(route, policy["limit"])
    return Route(route.verb, route.path, route.handler, policy, versioned=route.versioned)


def _tables(domain: Domain) -> list[Any]:
    return [model.table for model in domain.models]


def _behind(domain: Domain, door: type[Any]) -> type[Any]:
    promised = _promised(door)
    for service in domain.services:
        if all(callable(getattr(service, name, None)) for name in promised):
            return service
    raise CannotStart(f"domain {domain.name!r}: no service has all that {door.__name__} promises: {', '.join(sorted(promised))}")


def _promised(port: type[Any]) -> set[str]:
    return {name for name in vars(port) if not name.startswith("_")}


def _refuse_twice(kind: str, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CannotStart(f"{kind} {twice[0]!r} is declared by more than one domain")
