"""Making, changing and removing webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from fortress.clock import Clock, Ids
from fortress.data import Database, Page, PageQuery
from fortress.domains.webhooks.contract import OwnFactsOnly, TooManyWebhooks, WebhooksNotInstalled
from fortress.domains.webhooks.models import Webhook, WebhookState
from fortress.domains.webhooks.repository import EVERY_FACT, WebhookRepository
from fortress.domains.webhooks.service.circuit import BY_HAND, disabled, enabled
from fortress.domains.webhooks.service.courier import Post
from fortress.domains.webhooks.service.signing import new_secret
from fortress.errors import FieldError, Invalid
from fortress.events.following import FactKinds
from fortress.outward import Outward, RefusedDestination
from fortress.security import Principal, Reach

MOST: Final = 20
# All that hear what everyone does: each fact costs as many deliveries.
MOST_WIDE: Final = 500


class WebhookWish(msgspec.Struct, frozen=True):
    """A webhook as somebody wants it."""

    name: str
    url: str
    facts: list[str]
    everyone: bool

    def __repr__(self) -> str:
        return "<WebhookWish>"


class WebhookChange(msgspec.Struct, frozen=True):
    """What is to be another; None leaves what is."""

    name: str | None
    url: str | None
    facts: list[str] | None
    active: bool | None

    def __repr__(self) -> str:
        return "<WebhookChange>"


class WebhookService:
    """Webhooks, within the caller's reach."""

    def __init__(self, database: Database, webhooks: WebhookRepository, facts: FactKinds, post: Post, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._webhooks = webhooks
        self._facts = facts
        self._post = post
        self._clock = clock
        self._ids = ids

    async def make(self, wish: WebhookWish, by: Principal) -> Webhook:
        """A new webhook of the caller's.

        Raises:
            Invalid: its URL is one that nothing is sent to, or there is no such fact.
            OwnFactsOnly: the caller may not hear what everyone does.
            TooManyWebhooks: the caller has MOST, or MOST_WIDE hear what everyone does.
            WebhooksNotInstalled: this server can't send any.
        """
        if not Outward.installed():
            raise WebhooksNotInstalled
        if wish.everyone and by.reach is not Reach.ANY:
            raise OwnFactsOnly
        self._refuse(wish.url, wish.facts)
        hook = _new(self._ids.new(), wish, by.id, self._clock)
        async with self._database.unit(by) as unit:
            if len(await self._webhooks.ids_of(unit, person=by.id)) >= MOST:
                raise TooManyWebhooks
            if wish.everyone and len(await self._webhooks.wide(unit)) >= MOST_WIDE:
                raise TooManyWebhooks
            await self._webhooks.add(unit, hook)
            unit.audit("webhooks.made", target=hook.id, detail={"facts": len(hook.facts), "everyone": hook.everyone})
        return hook

    async def read(self, id: UUID, by: Principal) -> Webhook:
        """One webhook. Raises NotFound."""
        return await self._webhooks.by_id(self._database.reader(by), id=id)

    async def recent(self, query: PageQuery, by: Principal) -> Page[Webhook]:
        """Webhooks, newest first."""
        return await self._webhooks.listed(self._database.reader(by), query=query)

    async def change(self, id: UUID, change: WebhookChange, by: Principal) -> Webhook:
        """Another name, URL, facts or state.

        Raises:
            NotFound: it is not there, or not within the caller's reach.
            Invalid: the URL is one that nothing is sent to, or there is no such fact.
        """
        self._refuse(change.url, change.facts)
        async with self._database.unit(by) as unit:
            hook = await self._webhooks.locked(unit, id=id)
            changed = await self._webhooks.save(unit, _changed(hook, change))
            asked = [name for name in change.__struct_fields__ if getattr(change, name) is not None]
            unit.audit("webhooks.changed", target=id, detail={"changed": asked})
        return changed

    async def rotate(self, id: UUID, overlap: timedelta, by: Principal) -> Webhook:
        """Another secret; the old one signs too until the overlap is over. One that was left over ends at once. Raises NotFound."""
        until = self._clock.now() + overlap
        async with self._database.unit(by) as unit:
            hook = await self._webhooks.locked(unit, id=id)
            turned = replace(hook, secret=new_secret(), old_secret=hook.secret if overlap else None, old_until=until if overlap else None)
            rotated = await self._webhooks.save(unit, turned)
            unit.audit("webhooks.secret_rotated", target=id, detail={"overlap_until": until.isoformat()})
        return rotated

    async def remove(self, id: UUID, by: Principal) -> None:
        """Remove it; what was sent stays in the log until its month goes. Raises NotFound."""
        async with self._database.unit(by) as unit:
            await self._webhooks.remove(unit, await self._webhooks.locked(unit, id=id))
            unit.audit("webhooks.removed", target=id)

    def _refuse(self, url: str | None, facts: Sequence[str] | None) -> None:
        faults = [*self._url_faults(url), *self._fact_faults(facts or ())]
        if faults:
            raise Invalid(faults)

    def _url_faults(self, url: str | None) -> list[FieldError]:
        try:
            if url is not None:
                self._post.outward.read(url)
        except RefusedDestination as refused:
            return [FieldError("/url", f"Nothing is sent there: {refused}", "webhooks.url_refused")]
        return []

    def _fact_faults(self, facts: Sequence[str]) -> Iterator[FieldError]:
        """A name that is mistyped would wait for ever."""
        for place, name in enumerate(facts):
            if name != EVERY_FACT and name not in self._facts.by_name:
                known = ", ".join(sorted(self._facts.by_name))
                yield FieldError(f"/facts/{place}", f"There is no such fact. Those that there are: {known}", "webhooks.unknown_fact")


def _new(id: UUID, wish: WebhookWish, owner: UUID, clock: Clock) -> Webhook:
    return Webhook(
        id=id,
        user_id=owner,
        name=wish.name,
        url=wish.url,
        facts=sorted(set(wish.facts)),
        everyone=wish.everyone,
        state=WebhookState.ACTIVE,
        reason=None,
        secret=new_secret(),
        old_secret=None,
        old_until=None,
        failures=0,
        failing_since=None,
        paused_until=None,
        created_at=clock.now(),
        version=1,
    )


def _changed(hook: Webhook, change: WebhookChange) -> Webhook:
    changed = replace(
        hook,
        name=hook.name if change.name is None else change.name,
        url=hook.url if change.url is None else change.url,
        facts=hook.facts if change.facts is None else sorted(set(change.facts)),
    )
    if change.active is None:
        return changed
    return enabled(changed) if change.active else disabled(changed, BY_HAND)
