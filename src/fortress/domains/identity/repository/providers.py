"""Questions about identities elsewhere and sign-ins under way."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fortress.data import Repository, change, delete, many, one, param, select, update
from fortress.domains.identity.models import Identity, ProviderFlow

MOST_IDENTITIES = 20
_now = param("now", datetime)
_old = select(ProviderFlow.c.id).where(ProviderFlow.c.expires_at <= _now).limit(1000)


class IdentityRepository(Repository[Identity]):
    """Who people are elsewhere."""

    known = one(select(Identity).where(Identity.c.issuer == param("issuer"), Identity.c.subject == param("subject")))
    of_user = many(
        select(Identity).where(Identity.c.user_id == param("user")).order_by(Identity.c.created_at, Identity.c.id), limit=MOST_IDENTITIES
    )
    unlink = change(
        delete(Identity).where(Identity.c.id == param("id"), Identity.c.user_id == param("user")).returning(Identity.c.provider), into=str
    )
    seen = change(update(Identity).where(Identity.c.issuer == param("issuer"), Identity.c.subject == param("subject")).values(used_at=_now))
    erase = change(delete(Identity).where(Identity.c.user_id == param("person")))


class ProviderFlowRepository(Repository[ProviderFlow]):
    """Sign-ins under way."""

    # The row goes with the first who names it, so that of any number at once exactly one has it.
    take = change(
        delete(ProviderFlow)
        .where(ProviderFlow.c.state_digest == param("state"), ProviderFlow.c.browser_digest == param("browser"))
        .returning(ProviderFlow.table),
        into=ProviderFlow,
    )
    forget = change(delete(ProviderFlow).where(ProviderFlow.c.id.in_(_old)))
    erase = change(delete(ProviderFlow).where(ProviderFlow.c.user_id == param("person", UUID)))
