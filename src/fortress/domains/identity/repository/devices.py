"""Questions about where people have signed in from."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from fortress.data import Repository, any_, change, delete, insert, many, param, select, update
from fortress.domains.identity.models.devices import KnownDevice

MOST_DEVICES = 50


class DeviceMarks(msgspec.Struct, frozen=True):
    """What a device that comes is compared with."""

    digest: bytes
    place: bytes


_newest = (
    select(KnownDevice.c.id)
    .where(KnownDevice.c.user_id == param("user"))
    .order_by(KnownDevice.c.last_seen_at.desc(), KnownDevice.c.id.desc())
    .limit(MOST_DEVICES - 1)
)
_old = select(KnownDevice.c.id).where(KnownDevice.c.last_seen_at < param("before")).limit(1000)


class DeviceRepository(Repository[KnownDevice]):
    """Browsers and programs that people use."""

    marks = many(
        select(KnownDevice.c.digest, KnownDevice.c.place).where(KnownDevice.c.user_id == param("user")),
        into=DeviceMarks,
        limit=MOST_DEVICES,
    )
    seen = change(
        update(KnownDevice)
        .where(KnownDevice.c.user_id == param("user"), KnownDevice.c.digest == any_(param("digests", list[bytes])))
        .values(last_seen_at=param("now", datetime))
        .returning(KnownDevice.c.digest),
        into=bytes,
    )
    make_room = change(delete(KnownDevice).where(KnownDevice.c.user_id == param("user"), KnownDevice.c.id.not_in(_newest)))
    # Two sign-ins at once from one new device are one device.
    learn = change(
        insert(KnownDevice)
        .values(
            id=param("id"),
            user_id=param("user"),
            digest=param("digest"),
            place=param("place"),
            first_seen_at=param("now", datetime),
            last_seen_at=param("now", datetime),
        )
        .on_conflict_do_nothing(index_elements=["user_id", "digest"])
        .returning(KnownDevice.c.id),
        into=UUID,
    )
    of_person = many(select(KnownDevice).where(KnownDevice.c.user_id == param("person")), limit=MOST_DEVICES)
    forget = change(delete(KnownDevice).where(KnownDevice.c.id.in_(_old)))
    erase = change(delete(KnownDevice).where(KnownDevice.c.user_id == param("person")))
