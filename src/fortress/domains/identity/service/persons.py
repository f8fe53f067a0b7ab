"""A person's rights over what is kept of them: to have it, and to have it forgotten (GDPR Art. 15, 17 and 20)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database
from fortress.domain import PersonalRegister
from fortress.domains.identity.events import UserErased
from fortress.domains.identity.repository import UserRepository
from fortress.domains.identity.service.guesses import PasswordGuesses
from fortress.domains.identity.service.revocations import Revocations
from fortress.domains.identity.service.starting import Device
from fortress.security import SYSTEM, Principal


class PersonalExport(msgspec.Struct, frozen=True):
    """Everything that is kept of one person.

    Attributes:
        domains: by the domains' names, each with its rows by what they are.
    """

    person: UUID
    exported_at: datetime
    domains: Mapping[str, Mapping[str, Sequence[Any]]]

    def __repr__(self) -> str:
        return f"<PersonalExport of {self.person}>"

    def as_json(self) -> bytes:
        """One document."""
        return msgspec.json.encode(self)

    def as_zip(self) -> bytes:
        """A folder for each domain, a JSON file for each kind of row."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("export.json", msgspec.json.encode({"person": self.person, "exported_at": self.exported_at}))
            for domain, kinds in self.domains.items():
                for kind, rows in kinds.items():
                    archive.writestr(f"{domain}/{kind}.json", msgspec.json.format(msgspec.json.encode(rows)))
        return file.getvalue()


class PersonService:
    """Export and erasure, over every domain."""

    def __init__(
        self,
        database: Database,
        users: UserRepository,
        register: PersonalRegister,
        guesses: PasswordGuesses,
        revocations: Revocations,
        clock: Clock,
    ) -> None:
        self._database = database
        self._users = users
        self._register = register
        self._guesses = guesses
        self._revocations = revocations
        self._clock = clock

    async def export(self, person: UUID, by: Principal) -> PersonalExport:
        """Everything that every domain keeps of this person.

        Raises:
            NotFound: nobody of this id.
        """
        await self._users.by_id(self._database.reader(SYSTEM), id=person)
        found = {name: await records.export(person) for name, records in self._register}
        async with self._database.unit(by) as unit:
            unit.audit("users.exported", target=person)
        return PersonalExport(person, self._clock.now(), found)

    async def erase_oneself(self, password: str | None, caller: Principal, device: Device) -> None:
        """Forget the caller, who says their password once more if they have one.

        Raises:
            Invalid: it is not their password.
            TooManyRequests: too many wrong passwords, here or at the sign-in.
            LastAdministrator: nobody would be left who can administer.
        """
        user = await self._users.by_id(self._database.reader(SYSTEM), id=caller.id)
        if user.password_hash is not None:
            await self._guesses.prove(user, password or "", device, "/password")
        await self.erase(caller.id, caller)

    async def erase(self, person: UUID, by: Principal) -> None:
        """Forget a person: their rows go, the key that encrypts what remains is destroyed, and the log says that it was done.

        Other people's data stays whole: an order keeps its amounts and loses its note.

        Raises:
            NotFound: nobody of this id.
            LastAdministrator: nobody would be left who can administer.
        """
        async with self._database.unit(by) as unit:
            await self._users.by_id(unit, id=person)
            for _, records in self._register:
                await records.erase(unit, person)
            await self._database.personal.erase(unit, person)
            unit.record(UserErased(user_id=person))
            unit.audit("users.erased", target=person)
            self._revocations.user(unit, person)
