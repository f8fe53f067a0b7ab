"""Sending: the person, their wishes and their language are looked up when the mail goes, not when it was thought of."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock
from fortress.data import Database, Unit
from fortress.domains.notifications.contract import AddressBook, Recipient
from fortress.domains.notifications.models import MailState, Notification, NotificationSettings
from fortress.domains.notifications.repository import NotificationRepository, SettingsRepository
from fortress.domains.notifications.service.digest import DIGEST
from fortress.domains.notifications.service.links import Links
from fortress.domains.notifications.service.wishes import due, may_have, wish
from fortress.failpoints import Failpoint
from fortress.mail import AddressRefused, Delivery, Kinds, Mail, MailDelayed, Mailer, MailRefused, NotificationKind, Templates
from fortress.security import SYSTEM
from fortress.telemetry.metrics import Metrics

MAIL_TAKEN: Final = Failpoint("notifications.mail_taken", "A mail server has taken a mail; nothing that we know of it is committed.")

_RESULTS: Final = ("sent", "refused", "delayed")


class Sender:
    """Sends one notification's mail. A second call for one that is sent does nothing.

    Between a server's yes and our commit a process may die. Then the mail goes out again, as the same one: its Message-ID and every
    byte are made of what is stored. Whoever delivers it can tell; we can't.
    """

    def __init__(
        self,
        database: Database,
        notifications: NotificationRepository,
        settings: SettingsRepository,
        book: AddressBook,
        kinds: Kinds,
        templates: Templates,
        mailer: Mailer,
        links: Links,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._settings = settings
        self._book = book
        self._kinds = kinds
        self._templates = templates
        self._mailer = mailer
        self._links = links
        self._clock = clock
        self._counted = {result: metrics.counter("mails_total", "Mails, by what came of a try.", {"result": result}) for result in _RESULTS}

    async def send(self, id: UUID, at: datetime) -> None:
        """Send it, unless that is done or not wanted.

        Raises:
            MailDelayed: it is to be tried again.
            CannotStart: its template can't be filled, or its data are an older release's.
        """
        reader = self._database.reader(SYSTEM)
        told = await self._notifications.waiting.maybe(reader, id=id, at=at)
        if told is None:
            return
        kind = self._kinds.get(told.kind)
        settings = await self._settings.of.maybe(reader, person=told.user_id)
        way = wish(kind, settings) if kind else Delivery.OFF
        if kind is None or told.data is None or way is Delivery.OFF or self._too_late(told, kind):
            await self._settle(told, kind, MailState.NONE)
        elif way is not Delivery.IMMEDIATE:
            await self._postpone(told, way)
        else:
            await self._deliver(told, kind, settings)

    def _too_late(self, told: Notification, kind: NotificationKind[Any]) -> bool:
        return kind.good_for is not None and self._clock.now() >= told.created_at + kind.good_for

    async def _deliver(self, told: Notification, kind: NotificationKind[Any], settings: NotificationSettings | None) -> None:
        recipient = await self._book.recipient(told.user_id)
        if recipient is None or not may_have(kind, settings, recipient, self._clock.now()):
            await self._settle(told, kind, MailState.NONE)
            return
        mail = self._mail(told, kind, settings, recipient)
        try:
            await self._mailer.send(mail)
        except MailDelayed:
            self._counted["delayed"].add()
            raise
        except MailRefused as refusal:
            self._counted["refused"].add()
            nobody = isinstance(refusal, AddressRefused) and told.address is None
            await self._settle(told, kind, MailState.REFUSED, refused=mail.to if nobody else None)
        else:
            self._counted["sent"].add()
            if MAIL_TAKEN.armed:
                await MAIL_TAKEN.reached()
            await self._settle(told, kind, MailState.SENT)

    def _mail(self, told: Notification, kind: NotificationKind[Any], settings: NotificationSettings | None, recipient: Recipient) -> Mail:
        unsubscribe = self._links.unsubscribe(told.user_id, kind) if kind.chosen or kind is DIGEST else ""
        locale = settings.locale if settings else None
        data = kind.read(told.data or "")
        letter = self._templates.letter(kind, data, locale, name=recipient.name or "", unsubscribe=unsubscribe)
        to = told.address or recipient.email
        return Mail(to, letter.subject, letter.text, letter.html, told.id, told.created_at, unsubscribe)

    async def _postpone(self, told: Notification, way: Delivery) -> None:
        async with self._database.unit(SYSTEM) as unit:
            await self._notifications.postpone(unit, id=told.id, at=told.created_at, due_at=due(way, self._clock.now()))

    async def _settle(
        self, told: Notification, kind: NotificationKind[Any] | None, state: MailState, *, refused: str | None = None
    ) -> None:
        sent_at = self._clock.now() if state is MailState.SENT else None
        forgotten = kind is None or kind.secret
        async with self._database.unit(SYSTEM) as unit:
            settle = self._notifications.settle_secret if forgotten else self._notifications.settle
            await settle(unit, id=told.id, at=told.created_at, mail=state, sent_at=sent_at)
            if refused is not None:
                await self._mark_refused(unit, told.user_id, refused)
            elif state is MailState.SENT and told.address is None:
                await self._settings.accepted(unit, person=told.user_id)

    async def _mark_refused(self, unit: Unit, person: UUID, address: str) -> None:
        found = await self._settings.of.maybe(unit, person=person)
        now = self._clock.now()
        if found is None:
            await self._settings.add(unit, NotificationSettings(person, None, {}, address, now, 1))
        else:
            await self._settings.save(unit, msgspec.structs.replace(found, refused=address, refused_at=now))
