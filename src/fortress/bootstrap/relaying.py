"""Facts to and from other services, where a broker is set."""

from __future__ import annotations

from collections.abc import Sequence

from fortress.bootstrap.assembly import Assembly
from fortress.clock import Clock, Ids
from fortress.data import Database
from fortress.errors import CannotStart
from fortress.events import Fact
from fortress.events.relay.brokers import stream_at
from fortress.events.relay.lease import Lease
from fortress.events.relay.receiving import Inbox
from fortress.events.relay.sending import Relay
from fortress.settings import Settings
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import Metrics


def relaying(assembly: Assembly, settings: Settings, database: Database, clock: Clock, ids: Ids, metrics: Metrics) -> list[Relay | Inbox]:
    """What sends this service's facts and receives those of others; nothing without FORTRESS_BROKER_URL.

    Raises:
        CannotStart: the broker's client is not installed, or somebody hears a fact that nobody here tells and no stream is heard.
    """
    foreign = foreign_facts(assembly)
    if settings.broker_url is None or (foreign and not settings.broker_hear):
        refuse_unheard(foreign)
    if settings.broker_url is None:
        return []
    url, holder = settings.broker_url.get_secret_value(), ids.new()
    own = settings.broker_stream
    names = [fact.__name__ for domain in assembly.domains for fact in domain.facts]
    relay = Relay(
        database,
        stream_at(url, own, settings.broker_keep),
        Lease(database, f"to {own}", holder),
        clock,
        source=own,
        names=names,
    )
    _watch_relay(relay, own, metrics)
    inboxes = [
        Inbox(
            database, stream_at(url, source, settings.broker_keep), Lease(database, f"from {source}", holder), source=source, heard=foreign
        )
        for source in settings.broker_hear
    ]
    for inbox in inboxes:
        _watch_inbox(inbox, metrics)
    return [relay, *inboxes]


def foreign_facts(assembly: Assembly) -> Sequence[str]:
    """The facts that are heard here and told by a service elsewhere."""
    own = {fact for domain in assembly.domains for fact in domain.facts}
    heard = {fact for domain in assembly.domains for subscriber in domain.subscribers() for fact in subscriber.facts}
    return sorted(fact.__name__ for fact in heard - own - {Fact})


def refuse_unheard(foreign: Sequence[str]) -> None:
    """Raises CannotStart when there are such facts."""
    if foreign:
        raise CannotStart(
            f"nobody here tells {', '.join(foreign)}, which a subscriber hears",
            hint="list the fact in its domain's manifest, or name the stream of the service that tells it in FORTRESS_BROKER_HEAR",
        )


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
