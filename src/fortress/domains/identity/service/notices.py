"""What people are told by mail about their accounts (ASVS V6.3.5, V6.3.7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from fortress.background import Background
from fortress.data import Database, Unit
from fortress.domains.identity.repository import UserRepository
from fortress.mail import Mail, Mailer
from fortress.security import SYSTEM
from fortress.settings import Settings

Letter = Callable[[str, str], Mail]
"""What makes the mail, of the address that it goes to and the site's name."""


class Notices:
    """Sends letters beside the requests: opening an address and sending take work, by which nobody may be told apart."""

    def __init__(self, database: Database, users: UserRepository, mailer: Mailer, background: Background, settings: Settings) -> None:
        self._database = database
        self._users = users
        self._mailer = mailer
        self._background = background
        self._site = settings.site

    def tell(self, unit: Unit, user: UUID, letter: Letter) -> None:
        """Send this person a letter once the unit is committed."""
        unit.after_commit(partial(self.tell_now, user, letter))

    def tell_now(self, user: UUID, letter: Letter) -> None:
        """Send this person a letter."""
        self._background.start(self.deliver_to(user, letter))

    def send(self, to: str, letter: Letter) -> None:
        """Send a letter to an address."""
        self._background.start(self.deliver(to, letter))

    async def deliver(self, to: str, letter: Letter) -> None:
        """Send a letter to an address and wait for it; for what runs beside the requests already."""
        await self._mailer.send(letter(to, self._site))

    async def deliver_to(self, user: UUID, letter: Letter) -> None:
        """Send this person a letter and wait for it; for what runs beside the requests already."""
        found = await self._users.by_id.maybe(self._database.reader(SYSTEM), id=user)
        if found is not None:
            await self.deliver(found.email, letter)
