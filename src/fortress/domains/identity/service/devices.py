"""Which browsers and programs people sign in from: what tells a new one from one that they have used before."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from fortress.clock import Clock, Ids
from fortress.data import Database, Unit
from fortress.domains.identity.events import NewDeviceSeen
from fortress.domains.identity.repository import MOST_DEVICES, Claimed, DeviceMarks, DeviceRepository
from fortress.domains.identity.service import letters
from fortress.domains.notifications.contract import Notifications
from fortress.limits.keys import network_of
from fortress.security import SYSTEM
from fortress.security.encoding import framed
from fortress.security.keys import KeyRing
from fortress.security.principal import NOBODY

if TYPE_CHECKING:
    from fortress.domains.identity.service.starting import Device

_PURPOSE: Final = "devices"
_KEPT_UNSEEN: Final = timedelta(days=365)
_ROUNDS: Final = 100
_REMEMBERED: Final = 4096
# Browsers change the numbers of their versions every few weeks, and are the same browsers.
_NUMBERS: Final = re.compile(r"[\d._]+")


class Recognised(msgspec.Struct, frozen=True):
    """What is known of a device that somebody comes with.

    Attributes:
        known_by: what the device, or at least the network that it is in, is known by; None when neither is.
        digest: the device, under the key in use.
        seen_at: when it was last signed in from; None: never, or not since that key is in use.
    """

    known_by: bytes | None
    digest: bytes
    seen_at: datetime | None


class Devices:
    """Remembers devices by keyed digests: the table tells nobody who signs in from where."""

    def __init__(
        self, database: Database, devices: DeviceRepository, notices: Notifications, ring: KeyRing, clock: Clock, ids: Ids
    ) -> None:
        self._database = database
        self._devices = devices
        self._notices = notices
        self._ring = ring
        self._clock = clock
        self._ids = ids
        self._seen_today: dict[bytes, date] = {}

    def recognise(self, claimed: Claimed, device: Device) -> Recognised:
        """What this device is to whom somebody says they are. For nobody it is the same work."""
        devices, places = dict(zip(claimed.digests or (), claimed.seen or (), strict=True)), set(claimed.places or ())
        theirs = list(self._marks(claimed.id or NOBODY, device))
        by_device = next((mark.digest for mark in theirs if mark.digest in devices), None)
        known_by = by_device or next((mark.place for mark in theirs if mark.place in places), None)
        return Recognised(known_by, theirs[0].digest, devices.get(theirs[0].digest))

    def returned(self, unit: Unit, user: UUID, device: Recognised) -> None:
        """A session begins on a device that is known. When it was last seen is kept to the day."""
        now = self._clock.now()
        if device.seen_at is not None and device.seen_at.date() < now.date():
            self._devices.seen.later(unit, user=user, digests=[device.digest], now=now)

    async def arrived(self, unit: Unit, user: UUID, device: Device) -> None:
        """A session begins on this device. When it is a new one, and not the person's first, they are told."""
        first = await self._learn(unit, user, device)
        if first is False:
            unit.record(NewDeviceSeen(user_id=user))
            unit.audit("auth.new_device", target=user)
            await self._notices.tell(unit, user, letters.NEW_DEVICE, letters.Seen(device.address or "", self._clock.now()))

    async def trust(self, unit: Unit, user: UUID, device: Device) -> None:
        """Somebody on this device has proved by other means that they are this person."""
        await self._learn(unit, user, device)

    async def forget_unseen(self) -> int:
        """Delete what was not used for a year; how many there were."""
        gone = 0
        for _ in range(_ROUNDS):
            async with self._database.unit(SYSTEM) as unit:
                forgotten = await self._devices.forget(unit, before=self._clock.now() - _KEPT_UNSEEN)
            gone += forgotten
            if not forgotten:
                break
        return gone

    async def _learn(self, unit: Unit, user: UUID, device: Device) -> bool | None:
        """Keep the device; None when it was known, else whether it is the first.

        When it was last seen is kept to the day, so that most sign-ins write nothing here.
        """
        now, marks = self._clock.now(), list(self._marks(user, device))
        if self._seen_today.get(marks[0].digest) == now.date():
            return None
        unit.after_commit(partial(self._remember, marks[0].digest, now.date()))
        seen = await self._devices.seen(unit, user=user, digests=[mark.digest for mark in marks], now=now)
        current = marks[0]
        if any(hmac.compare_digest(digest, current.digest) for digest in seen):
            return None
        known = await self._devices.marks(unit, user=user)
        if len(known) >= MOST_DEVICES:
            await self._devices.make_room(unit, user=user)
            unit.after_commit(self._seen_today.clear)
        new = await self._devices.learn(unit, id=self._ids.new(), user=user, digest=current.digest, place=current.place, now=now)
        return not known if new and not seen else None

    def _remember(self, digest: bytes, day: date) -> None:
        while len(self._seen_today) >= _REMEMBERED:
            del self._seen_today[next(iter(self._seen_today))]
        self._seen_today[digest] = day

    def _marks(self, user: UUID, device: Device) -> Iterator[DeviceMarks]:
        """What the device is known by, for every key that counts; by the one in use first."""
        agent = _NUMBERS.sub("", device.agent or "").encode("utf-8", "surrogatepass")
        network = network_of(device.address or "").encode()
        for key in self._ring.secrets(_PURPOSE):
            secret = key.material.reveal()
            place = hmac.digest(secret, framed(b"place", user.bytes, network), "sha256")
            yield DeviceMarks(hmac.digest(secret, framed(b"device", user.bytes, network, agent), "sha256"), place)
