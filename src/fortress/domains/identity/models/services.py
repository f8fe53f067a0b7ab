"""Service accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fortress.data import CreatedAt, Entity, Index, Key, Text, Unique, Version, desc
from fortress.domains.identity.contract import ServiceNameTaken


class ServiceAccount(Entity, frozen=True):
    """A program that acts by keys of its own. It has no password and can't sign in.

    Attributes:
        made_by: who made it. It outlives them: nothing of it hangs on their account.
        disabled_at: since when its keys are refused; None: they are not.
    """

    __tablename__ = "service_accounts"
    __indexes__ = (
        Unique("service_accounts_name_key", "name", raises=ServiceNameTaken),
        Index("idx_service_accounts_created", desc("created_at"), desc("id")),
    )

    id: Key
    name: Annotated[str, Text(80)]
    made_by: UUID
    created_at: CreatedAt
    disabled_at: datetime | None
    version: Version
