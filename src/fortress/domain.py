"""What a domain declares. The manifest is its table of contents, and all that the outside imports to run it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from uuid import UUID

import msgspec

from fortress.data import Entity, Unit
from fortress.events import Fact, Job, Subscriber
from fortress.http.routes import Route
from fortress.http.versions import Past
from fortress.mail import NotificationKind
from fortress.security.permissions import Permission, Role
from fortress.settings import Settings

Handler = Callable[..., Awaitable[Any]]


class Upkeep(msgspec.Struct, frozen=True):
    """Work of a domain's own that is repeated for as long as a server runs; one server at a time does it.

    Attributes:
        name: unique in the project; what logs call it.
        seconds: between the end of one run and the start of the next; or what gives them from the settings.
        run: a coroutine function; its parameters are services, found by their types.
    """

    name: str
    seconds: float | Callable[[Settings], float]
    run: Handler

    def every(self, settings: Settings) -> float:
        """The seconds in force."""
        return self.seconds if isinstance(self.seconds, float | int) else self.seconds(settings)


class PersonalRecords(Protocol):
    """What a domain keeps of people, as far as it can be handed to them and forgotten (GDPR Art. 15, 17, 20)."""

    async def export(self, person: UUID) -> Mapping[str, Sequence[Any]]:
        """Everything that the domain keeps of this person: rows by what they are, as Structs or dicts; never a secret."""
        ...

    async def erase(self, unit: Unit, person: UUID) -> None:
        """Remove what is only about this person, and leave what others need without them; part of the caller's transaction."""
        ...


class PersonalRegister:
    """Every domain's PersonalRecords.

    Args:
        find: gives them by the domains' names, in the order of the domains; asked once somebody needs them, for a service
            that asks for the register may be one of them.
    """

    def __init__(self, find: Callable[[], Mapping[str, PersonalRecords]]) -> None:
        self._find = find

    def __iter__(self) -> Iterator[tuple[str, PersonalRecords]]:
        return iter(self._find().items())


class Domain(msgspec.Struct, frozen=True):
    """One domain of a project.

    Attributes:
        name: lower case; its tables, permissions and migrations go by it.
        routes: the module of its REST handlers, or several of them, or the routes themselves.
        versions: the shapes that older versions of its routes have.
        services: classes that the assembly makes, each once; their constructors say what they need by type.
        door: the Protocol that other domains may ask for; a service of this domain implements it.
        models: its tables.
        migrations: folder of its migrations; by default the one next to the manifest.
        handlers: the module of its subscribers and jobs, or several of them, or the subscribers and jobs themselves.
        upkeep: repeated work.
        ports: Protocols of other domains that a service of this one stands behind, so that those need not know it.
        notifications: the kinds of things that it tells people of.
        templates: folder of those mails' templates: `templates_beside(__name__)`.
        personal: the service that exports and erases what the domain keeps of people.
        demo: fills a development database; its parameters are services.
    """

    name: str
    routes: ModuleType | Sequence[Any] = ()
    versions: Sequence[Past] = ()
    services: Sequence[type[Any]] = ()
    door: type[Any] | None = None
    permissions: Sequence[Permission] = ()
    roles: Sequence[Role] = ()
    facts: Sequence[type[Fact]] = ()
    models: Sequence[type[Entity]] = ()
    migrations: Path | None = None
    handlers: ModuleType | Sequence[Any] = ()
    upkeep: Sequence[Upkeep] = ()
    ports: Sequence[type[Any]] = ()
    notifications: Sequence[NotificationKind[Any]] = ()
    templates: Path | None = None
    personal: type[PersonalRecords] | None = None
    demo: Handler | None = None

    def declared_routes(self) -> list[Any]:
        """Everything that this domain offers as a route, decorated or not; the start refuses what is not."""
        parts = [self.routes] if isinstance(self.routes, ModuleType) else self.routes
        return [item for part in parts for item in (_handlers(part) if isinstance(part, ModuleType) else [part])]

    def subscribers(self) -> list[Subscriber]:
        """What it does when something has happened."""
        return [item for item in self._handling() if isinstance(item, Subscriber)]

    def jobs(self) -> list[Job]:
        """Its work for later."""
        return [item for item in self._handling() if isinstance(item, Job)]

    def _handling(self) -> list[Any]:
        parts = [self.handlers] if isinstance(self.handlers, ModuleType) else self.handlers
        return [item for part in parts for item in (_declared_in(part) if isinstance(part, ModuleType) else [part])]


def migrations_beside(manifest: str) -> Path:
    """The `migrations` folder next to the module called `manifest`; pass `__name__`."""
    return _beside(manifest, "migrations")


def templates_beside(manifest: str) -> Path:
    """The `templates` folder next to the module called `manifest`; pass `__name__`."""
    return _beside(manifest, "templates")


def _beside(manifest: str, folder: str) -> Path:
    file = sys.modules[manifest].__file__
    if file is None:
        raise ValueError(f"{manifest} has no file")
    return Path(file).parent / folder


def _handlers(module: ModuleType) -> list[Any]:
    return [item for name, item in vars(module).items() if not name.startswith("_") and _offered(item, module)]


def _declared_in(module: ModuleType) -> list[Any]:
    found = [item for item in vars(module).values() if isinstance(item, (Subscriber, Job))]
    return [item for item in found if item.run.__module__ == module.__name__]


def _offered(item: Any, module: ModuleType) -> bool:
    """Routes, and public coroutine functions of the module itself, which look like handlers that lost their decorator."""
    if isinstance(item, Route):
        return item.handler.__module__ == module.__name__
    code = getattr(item, "__code__", None)
    return code is not None and bool(code.co_flags & 0x80) and item.__module__ == module.__name__
