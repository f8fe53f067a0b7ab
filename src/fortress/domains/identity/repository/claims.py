"""The one question that a sign-in by password begins with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa

from fortress.data import Repository, blind, exists, func, one, or_, param, revision, select
from fortress.domains.identity.contract import UserStatus
from fortress.domains.identity.models import Authenticator, KnownDevice, Passkey, Session, User
from fortress.domains.identity.repository.devices import MOST_DEVICES
from fortress.domains.identity.repository.factors import Account

_now = param("now", datetime)
_anyone = select(sa.literal_column("1")).subquery("anyone")
# The same work for an address that nobody has: whoever waits for a refusal learns nothing from how long it takes.
_who = func.coalesce(User.c.id, param("nobody", UUID))


class Claimed(msgspec.Struct, frozen=True):
    """Whom somebody says they are, and all that their sign-in depends on. Nothing of it is encrypted.

    Attributes:
        id: None: nobody has this address.
        revision: of the account's row; it is another one as soon as anything about the account has changed.
        second_step: whether there is a second factor.
        surplus: living sessions that end when one more begins, so that they are not too many.
        digests, places, seen: of the devices that are known, each in the same order.
    """

    id: UUID | None
    password_hash: str | None
    status: UserStatus | None
    verified_at: datetime | None
    revision: int | None
    second_step: bool
    surplus: list[UUID]
    digests: list[bytes] | None
    places: list[bytes] | None
    seen: list[datetime] | None

    @property
    def account(self) -> Account | None:
        """The account, when it may be used."""
        if self.id is None or self.status is not UserStatus.ACTIVE:
            return None
        return Account(self.id, self.password_hash, self.status)

    def __repr__(self) -> str:
        return f"<Claimed id={self.id}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("id", self.id)]


_device = select(KnownDevice.table).where(KnownDevice.c.user_id == _who).limit(MOST_DEVICES).correlate(User.table).subquery("device")
_devices = select(
    func.array_agg(_device.c.digest).label("digests"),
    func.array_agg(_device.c.place).label("places"),
    func.array_agg(_device.c.last_seen_at).label("seen"),
).lateral("devices")
_surplus = (
    select(Session.c.id)
    .where(Session.c.user_id == _who, Session.c.revoked_at.is_(None), Session.c.expires_at > _now, Session.c.idle_expires_at > _now)
    .order_by(Session.c.created_at.desc(), Session.c.id.desc())
    .offset(param("kept", int))
    .correlate(User.table)
)


class ClaimRepository(Repository[User]):
    """People who come with an address and a password."""

    # Always one row.
    of_address = one(
        select(
            User.c.id,
            User.c.password_hash,
            User.c.status,
            User.c.verified_at,
            revision(User),
            or_(
                exists(select(Authenticator.c.user_id).where(Authenticator.c.user_id == _who, Authenticator.c.confirmed_at.is_not(None))),
                exists(select(Passkey.c.id).where(Passkey.c.user_id == _who)),
            ).label("second_step"),
            sa.func.array(_surplus.scalar_subquery(), type_=sa.ARRAY(sa.Uuid())).label("surplus"),
            _devices.c.digests,
            _devices.c.places,
            _devices.c.seen,
        ).select_from(_anyone.outerjoin(User.table, User.c.email_key == blind("email")).join(_devices, sa.true())),
        into=Claimed,
    )
