"""Which broker a URL means."""

from __future__ import annotations

from urllib.parse import urlsplit

from fortress.errors import CannotStart
from fortress.events.relay.kafka import KafkaStream
from fortress.events.relay.nats import NatsStream
from fortress.events.relay.redis import RedisStream
from fortress.events.relay.stream import Stream


def stream_at(url: str, name: str, keep: int) -> Stream:
    """The stream of this name at this broker; not connected yet.

    Args:
        url: FORTRESS_BROKER_URL.
        name: of the stream.
        keep: messages that the stream holds at most, where it is ours to say.

    Raises:
        CannotStart: no such broker, or its client is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("nats", "tls"):
        return NatsStream(url, name, keep)
    if scheme in ("redis", "rediss"):
        return RedisStream(url, name, keep)
    if scheme == "kafka":
        return KafkaStream(url, name)
    raise CannotStart("FORTRESS_BROKER_URL is not nats://, redis:// or kafka://")
