"""Questions about service accounts."""

from __future__ import annotations

from fortress.data import Repository, func, one, page, param, select
from fortress.domains.identity.models import ServiceAccount


class ServiceAccountRepository(Repository[ServiceAccount]):
    """Programs with keys of their own."""

    by_id = one(select(ServiceAccount).where(ServiceAccount.c.id == param("id")))
    recent = page(select(ServiceAccount), newest_first=ServiceAccount.c.created_at)
    counted = one(select(func.count().label("number")).select_from(ServiceAccount.table), into=int)
