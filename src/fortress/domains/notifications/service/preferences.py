"""How people want to be told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Database, Unit
from fortress.domains.notifications.contract import NotYourChoice
from fortress.domains.notifications.models import NotificationSettings
from fortress.domains.notifications.repository import SettingsRepository
from fortress.domains.notifications.service.digest import DIGEST
from fortress.domains.notifications.service.links import Links
from fortress.domains.notifications.service.wishes import wish
from fortress.errors import FieldError
from fortress.mail import Delivery, Kinds, Templates
from fortress.security import SYSTEM, Principal


class KindView(msgspec.Struct, frozen=True):
    """One kind of notifications that may be chosen, and how the person is told of it by mail."""

    kind: str
    title: str
    delivery: Delivery


class PreferencesView(msgspec.Struct, frozen=True):
    """How somebody is told.

    Attributes:
        locale: the language of their mails; null: English.
        locales: those that there are words in.
        address_refused_at: when a mail server last said that nobody has their address; null: none says so.
    """

    locale: str | None
    locales: list[str]
    kinds: list[KindView]
    address_refused_at: datetime | None


class PreferenceService:
    """Each person's own choice; what concerns the safety of an account is nobody's."""

    def __init__(self, database: Database, settings: SettingsRepository, kinds: Kinds, templates: Templates, links: Links) -> None:
        self._database = database
        self._settings = settings
        self._kinds = kinds
        self._templates = templates
        self._links = links

    async def read(self, caller: Principal) -> PreferencesView:
        """How the caller is told."""
        return self._view(await self._settings.of.maybe(self._database.reader(caller), person=caller.id))

    async def choose(self, locale: str | None, choices: Mapping[str, Delivery], caller: Principal) -> PreferencesView:
        """Put this in the place of all that the caller chose before.

        Raises:
            NotYourChoice: a kind or a language that there is not, or a kind that can't be chosen.
            StaleVersion: the caller chose something else at this moment.
        """
        self._refuse(locale, choices)
        async with self._database.unit(caller) as unit:
            chosen = await self._keep(unit, caller.id, locale, {name: way.value for name, way in choices.items()})
        return self._view(chosen)

    async def end_by_link(self, token: str) -> str:
        """End the mails that a link in one of them is for; what they are about. Doing it twice is as good as once.

        Raises:
            BrokenLink: it is not one of ours.
        """
        person, kind = self._links.read(token)
        async with self._database.unit(SYSTEM) as unit:
            settings = await self._settings.of.maybe(unit, person=person)
            ended = [kind.name] if kind.chosen else []
            if kind is DIGEST:
                ended = [one.name for one in self._kinds.values() if wish(one, settings) in (Delivery.DAILY, Delivery.WEEKLY)]
            choices = dict(settings.choices) if settings else {}
            await self._keep(unit, person, settings.locale if settings else None, choices | dict.fromkeys(ended, Delivery.OFF.value))
            unit.audit("notifications.ended_by_link", target=person, detail={"kind": kind.name})
        return kind.title

    async def _keep(self, unit: Unit, person: UUID, locale: str | None, choices: dict[str, str]) -> NotificationSettings:
        found = await self._settings.of.maybe(unit, person=person)
        if found is not None:
            return await self._settings.save(unit, msgspec.structs.replace(found, locale=locale, choices=choices))
        return await self._settings.add(unit, NotificationSettings(person, locale, choices, None, None, 1))

    def _refuse(self, locale: str | None, choices: Mapping[str, Delivery]) -> None:
        wrong = [name for name in choices if name not in self._kinds or not self._kinds[name].chosen]
        errors = [FieldError(f"/delivery/{name}", "This can't be chosen", "notifications.not_your_choice") for name in wrong]
        if locale is not None and locale not in self._templates.locales:
            errors.append(FieldError("/locale", "There are no words in this language", "notifications.no_locale"))
        if errors:
            raise NotYourChoice(errors)

    def _view(self, settings: NotificationSettings | None) -> PreferencesView:
        kinds = [KindView(one.name, one.title, wish(one, settings)) for one in self._kinds.values() if one.chosen]
        return PreferencesView(
            settings.locale if settings else None, sorted(self._templates.locales), kinds, settings.refused_at if settings else None
        )
