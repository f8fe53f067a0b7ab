"""What a broker must be able to do: hold one stream of messages, take more of them at its end, and give them out from any place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import msgspec

from fortress.errors import FortressError

# A fact has at most 16 KiB; what stands around it is small. Whatever is longer did not come from a relay.
MOST_BYTES = 65_536


class BrokerAway(FortressError):
    """The broker did not answer in time, or refused; whether it took what was sent is not known."""


class Overtaken(FortressError):
    """Somebody else has written to the stream since we looked: nothing of what was sent after that stands in it."""


class Position(msgspec.Struct, frozen=True, order=True):
    """A fact's place in the log: the transaction that recorded it, and its number. Facts are sent in this order."""

    tx: int
    seq: int

    def __str__(self) -> str:
        return f"{self.tx}-{self.seq}"

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The place that `str` wrote. Raises ValueError."""
        tx, _, seq = text.partition("-")
        return cls(int(tx), int(seq))


class Message(msgspec.Struct, frozen=True):
    """A fact on its way out.

    Attributes:
        position: where it stands in the log.
        id: of the fact.
        name: of the fact; brokers with subjects let readers choose by it.
        aggregate: brokers with partitions keep messages of one together.
        body: the fact as CloudEvents JSON.
    """

    position: Position
    id: str
    name: str
    aggregate: str
    body: bytes


class Received(msgspec.Struct, frozen=True):
    """A message that came in. `cursor` is the broker's word for the place just behind it."""

    cursor: str
    body: bytes


class Stream(Protocol):
    """One stream. Its writers and readers may be in different services; only one relay writes at a time."""

    async def open(self) -> None:
        """Connect, and make the stream if there is none. Raises BrokerAway."""
        ...

    async def close(self) -> None:
        """Let go of the connection; what is sent is sent."""
        ...

    async def last(self) -> Position | None:
        """The place of the newest message, from where `send` goes on; None when there is none or the broker can't tell.

        Raises:
            BrokerAway: no answer.
        """
        ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Append these in their order, each once.

        Raises:
            Overtaken: another writer came in between; ask for `last` before going on.
            BrokerAway: it is not known how many of them stand there; ask for `last` before going on.
        """
        ...

    async def read(self, after: str | None, most: int, seconds: float) -> Sequence[Received]:
        """Up to so many messages behind a cursor (None: from the oldest that is kept), as soon as there are any.

        Raises:
            BrokerAway: no answer.
        """
        ...
