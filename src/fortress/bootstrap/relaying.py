"""Facts to and from other services, where a broker is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fortress.bootstrap.assembly import Assembly
from fortress.bootstrap.container import Container
from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.data.bus import Bus
from fortress.errors import CannotStart
from fortress.events import Fact
from fortress.events.following import TOPIC, Herald
from fortress.events.relay.brokers import stream_at
from fortress.events.relay.lease import Lease
from fortress.events.relay.receiving import Inbox
from fortress.events.relay.sending import Relay
from fortress.events.relay.turns import OneAtATime
from fortress.settings import Settings
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import Metrics


@asynccontextmanager
async def facts_exchanged(assembly: Assembly, container: Container, bus: Bus, herald: Herald) -> AsyncIterator[None]:
    """This service's facts go out, and those of others come in, for as long as the block lasts; nothing without FORTRESS_BROKER_URL.

    Raises:
        CannotStart: the broker's client is not installed, or somebody hears a fact that nobody here tells and no stream brings.
    """
    settings, foreign = container.get(Settings), foreign_facts(assembly)
    if foreign and not (settings.broker_url and settings.broker_hear):
        raise CannotStart(
            f"nobody here tells {', '.join(foreign)}, which a subscriber hears",
            hint="list the fact in its domain's manifest, or name the stream of the service that tells it in FORTRESS_BROKER_HEAR",
        )
    parts = _parts(settings, facts_sent(assembly, settings), foreign, container, bus, herald)
    tasks = [asyncio.create_task(part.run(), name="facts exchanged") for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for part in parts:
            await part.close()


def facts_sent(assembly: Assembly, settings: Settings) -> list[str]:
    """The facts that this service sends to others."""
    return [fact.__name__ for domain in assembly.domains for fact in domain.facts] if settings.broker_url else []


def foreign_facts(assembly: Assembly) -> Sequence[str]:
    """The facts that are heard here and told by a service elsewhere."""
    own = {fact for domain in assembly.domains for fact in domain.facts}
    heard = {fact for domain in assembly.domains for subscriber in domain.subscribers() for fact in subscriber.facts}
    return sorted(fact.__name__ for fact in heard - own - {Fact})


def _parts(
    settings: Settings, own: Sequence[str], foreign: Sequence[str], container: Container, bus: Bus, herald: Herald
) -> list[OneAtATime]:
    if settings.broker_url is None:
        return []
    database, metrics = container.get(Database), container.get(Metrics)
    url, name, keep, holder = settings.broker_url.get_secret_value(), settings.broker_stream, settings.broker_keep, container.get(Ids).new()
    sending = Lease(database, f"to {name}", holder)
    relay = Relay(database, stream_at(url, name, keep), sending, container.get(Clock), source=name, names=own)
    bus.on(TOPIC, relay.heard)
    _watch_relay(relay, name, metrics)
    inboxes = [
        Inbox(
            database,
            stream_at(url, source, keep),
            Lease(database, f"from {source}", holder),
            source=source,
            heard=foreign,
            told=lambda: herald.recorded(foreign),
        )
        for source in settings.broker_hear
    ]
    for inbox in inboxes:
        _watch_inbox(inbox, metrics)
    return [relay, *inboxes]


def _watch_relay(relay: Relay, stream: str, metrics: Metrics) -> None:
    labels = {"stream": stream}
    metrics.watch("relay_lag_seconds", "Age of the oldest fact that was not sent.", relay.lag, labels, Merge.MAX)
    metrics.watch("relay_broker_away", "Whether the broker does not answer.", lambda: float(relay.away), labels, Merge.MAX)
    metrics.tally("relay_sent_total", "Facts sent to the broker.", lambda: relay.sent, labels)
    metrics.tally("relay_overtaken_total", "Times that another relay was found to send.", lambda: relay.overtaken, labels)


def _watch_inbox(inbox: Inbox, metrics: Metrics) -> None:
    labels = {"stream": inbox.source}
    metrics.watch("inbox_broker_away", "Whether the broker does not answer.", lambda: float(inbox.away), labels, Merge.MAX)
    metrics.tally("inbox_taken_total", "Facts of other services written into our log.", lambda: inbox.taken, labels)
    metrics.tally("inbox_refused_total", "Messages of other services that were no facts.", lambda: inbox.refused, labels)
