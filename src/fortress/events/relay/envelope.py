"""A fact between services, as CloudEvents 1.0 JSON, so that services that are not Fortress can read it too."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from fortress.events.relay.stream import MOST_BYTES, Message, Position


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fact (CloudEvents 1.0, with extension attributes of ours).

    Attributes:
        source: the stream of the service that it happened in.
        type: the fact's name.
        subject: its aggregate.
        time: when it happened.
        dataversion: the version of the fact's shape.
        actorid: who did it.
        requestid: in which request.
        data: the fact's fields, as JSON.
    """

    id: UUID
    source: str
    type: str
    subject: UUID
    time: datetime
    dataversion: int
    actorid: UUID
    data: msgspec.Raw
    requestid: str | None = None
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Envelope)


def outgoing(source: str, row: Any) -> Message:
    """The message of a row of the log: its columns, with `payload` as text and `tx` as a number."""
    envelope = Envelope(
        id=UUID(bytes=row["id"].bytes),
        source=source,
        type=row["name"],
        subject=UUID(bytes=row["aggregate"].bytes),
        time=row["at"],
        dataversion=row["version"],
        actorid=UUID(bytes=row["actor_id"].bytes),
        data=msgspec.Raw(row["payload"].encode()),
        requestid=row["request_id"],
    )
    # What has a default must be written all the same: the specification asks for it.
    body = b'{"specversion":"1.0","datacontenttype":"application/json",' + _encode(envelope)[1:]
    return Message(Position(row["tx"], row["seq"]), str(envelope.id), envelope.type, str(envelope.subject), body)


def incoming(body: bytes) -> Envelope:
    """What another service's relay has sent.

    Raises:
        ValueError: it is too long, or no fact of a CloudEvents 1.x envelope.
    """
    if len(body) > MOST_BYTES:
        raise ValueError("the message is too long to be a fact")
    envelope = _decoder.decode(body)
    if not envelope.specversion.startswith("1."):
        raise ValueError("the envelope is not CloudEvents 1.x")
    if envelope.time.tzinfo is None:
        raise ValueError("a time without a zone is not a moment")
    return envelope
