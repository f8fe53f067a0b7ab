"""What people can be told of: each domain declares its kinds beside what it does, as it declares its permissions and facts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from fortress.errors import CannotStart

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*\.[a-z][a-z0-9_]*")
# What every template is given beside a kind's own data.
GIVEN: Final = frozenset({"site", "origin", "account_url", "name", "locale", "unsubscribe"})


class Delivery(StrEnum):
    """How somebody is told by mail."""

    IMMEDIATE = "immediate"
    DAILY = "daily"
    WEEKLY = "weekly"
    OFF = "off"


class NotificationData(msgspec.Struct, frozen=True):
    """The base of what a kind's templates are filled with; its `repr` shows nothing, for it may hold what is personal or secret."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Nothing(NotificationData, frozen=True):
    """Data of a kind that needs none."""


NOTHING: Final = Nothing()

D = TypeVar("D", bound=NotificationData)


class NotificationKind(msgspec.Struct, Generic[D], frozen=True):
    """Something that people are told of.

        PLACED = NotificationKind("orders.placed", "Your orders", OrderLetter(number="A-1", total=Decimal("12.50")))

    Attributes:
        name: `domain.what`; its template is `templates/<what>.<locale>.txt` of that domain.
        title: what it is about, as people see it where they choose what they are told.
        sample: data as they may be; at the start every template is filled with them, and their type is what `tell` takes.
        security: about the safety of an account: goes out at once, and nobody can switch it off.
        secret: its data are worth something to others, such as a token: they are forgotten once the mail is out, and shown nowhere else.
        delivery: how people are told who have not chosen.
        good_for: how long the mail is worth anything; what could not be sent by then is not sent any more. None: always.
    """

    name: str
    title: str
    sample: D
    security: bool = False
    secret: bool = False
    delivery: Delivery = Delivery.IMMEDIATE
    good_for: timedelta | None = None

    @property
    def domain(self) -> str:
        """Whose it is."""
        return self.name.partition(".")[0]

    @property
    def template(self) -> str:
        """`domain/what`, without locale and ending."""
        return self.name.replace(".", "/", 1)

    @property
    def chosen(self) -> bool:
        """Whether people may choose how they are told."""
        return not (self.security or self.secret)

    def written(self, data: D) -> str:
        """The data as JSON text.

        Raises:
            TypeError: these are another kind's data.
            msgspec.ValidationError: a field does not hold what it says.
        """
        if type(data) is not type(self.sample):
            raise TypeError(f"{self.name} is told with {type(self.sample).__name__}, not with {type(data).__name__}")
        text = msgspec.json.encode(data).decode()
        self.read(text)
        return text

    def read(self, text: str) -> D:
        """The data that `written` made text of. Raises msgspec.ValidationError when an older release's do not fit any more."""
        return msgspec.json.decode(text, type=type(self.sample))


class Kinds(Mapping[str, NotificationKind[Any]]):
    """All kinds of a project, by name.

    Raises:
        CannotStart: two of one name, one that is no name, of another domain, or with data that would hide what all templates are given.
    """

    def __init__(self, declared: Iterable[tuple[str, NotificationKind[Any]]]) -> None:
        self._kinds: dict[str, NotificationKind[Any]] = {}
        for domain, kind in declared:
            self._declare(domain, kind)

    def __getitem__(self, name: str) -> NotificationKind[Any]:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def _declare(self, domain: str, kind: NotificationKind[Any]) -> None:
        if not _NAME.fullmatch(kind.name) or kind.domain != domain:
            raise CannotStart(f"domain {domain} can't declare notifications called {kind.name!r}", hint=f"they read {domain}.something")
        if kind.name in self._kinds:
            raise CannotStart(f"there are two kinds of notifications called {kind.name}")
        if hidden := GIVEN & set(kind.sample.__struct_fields__):
            raise CannotStart(f"{kind.name}: every template is given {', '.join(sorted(hidden))} already", hint="call the field otherwise")
        self._kinds[kind.name] = kind
