"""A stream in NATS JetStream. Each message is sent with the sequence number that it must follow, so a second writer is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from fortress.errors import CannotStart
from fortress.events.relay.stream import BrokerAway, Message, Overtaken, Position, Received

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

# "wrong last sequence", of a stream and of a subject.
_OVERTAKEN: Final = (10070, 10071)
_POSITION: Final = "Fortress-Position"
_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 5.0
_FORGOTTEN_SECONDS: Final = 60.0
_PENDING: Final = 4096


class NatsStream:
    """One JetStream stream.

    Args:
        url: nats://[user:password@]host:port or tls://…; several with commas.
        name: of the stream, and the first word of its subjects.
        keep: messages that the stream holds at most, when it is ours to make.

    Raises:
        CannotStart: nats-py is not installed.
    """

    def __init__(self, url: str, name: str, keep: int) -> None:
        try:
            import nats
        except ImportError:
            raise CannotStart("FORTRESS_BROKER_URL=nats://… needs nats-py", hint="pip install 'fortress[nats]'") from None
        self._connect = nats.connect
        self._servers = url.split(",")
        self._name = name
        self._keep = keep
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._reading: Any = None
        self._read_to: str | None = None
        self._sequence = 0

    def __repr__(self) -> str:
        return f"NatsStream({self._name!r})"

    async def open(self) -> None:
        from nats.js.api import StreamConfig
        from nats.js.errors import NotFoundError

        await self.close()
        async with _answering():
            self._client = await self._connect(
                servers=self._servers,
                name="fortress",
                connect_timeout=_CONNECT_SECONDS,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.1,
                error_cb=_quietly,
            )
            # A reconnect of the client's own would send again what we have given up.
            jetstream = self._client.jetstream(timeout=_ANSWER_SECONDS, publish_async_max_pending=_PENDING)
            try:
                await jetstream.stream_info(self._name)
            except NotFoundError:
                await jetstream.add_stream(StreamConfig(name=self._name, subjects=[f"{self._name}.>"], max_msgs=self._keep))
            self._jetstream = jetstream

    async def close(self) -> None:
        client, self._client, self._jetstream, self._reading = self._client, None, None, None
        if client is not None:
            with suppress(Exception):
                await asyncio.wait_for(client.close(), _ANSWER_SECONDS)

    async def last(self) -> Position | None:
        jetstream = self._connected()
        async with _answering():
            state = (await jetstream.stream_info(self._name)).state
            self._sequence = state.last_seq
            if not state.messages:
                return None
            newest = await jetstream.get_msg(self._name, seq=state.last_seq)
        try:
            return Position.parsed((newest.headers or {})[_POSITION])
        except (KeyError, ValueError):
            raise BrokerAway(f"the last message of stream {self._name} was not written by a relay") from None

    async def send(self, messages: Sequence[Message]) -> None:
        jetstream = self._connected()
        async with _answering():
            answers = [await self._sent(jetstream, message, self._sequence + offset) for offset, message in enumerate(messages)]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
        for outcome in outcomes:
            if getattr(outcome, "duplicate", False) or getattr(outcome, "err_code", None) in _OVERTAKEN:
                raise Overtaken
            if isinstance(outcome, BaseException):
                raise BrokerAway(type(outcome).__name__)
        self._sequence += len(messages)

    async def read(self, after: str | None, most: int, seconds: float) -> Sequence[Received]:
        async with _answering(seconds):
            if self._reading is None or after != self._read_to:
                self._reading, self._read_to = await self._reader(after), after
            try:
                found = await self._reading.fetch(most, timeout=seconds)
            except TimeoutError:
                return ()
        received = [Received(str(message.metadata.sequence.stream), message.data) for message in found]
        self._read_to = received[-1].cursor if received else after
        return received

    async def _reader(self, after: str | None) -> Any:
        """A consumer that only we read, from this place on; the server forgets it when nobody asks."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        if self._reading is not None:
            with suppress(Exception):
                await self._reading.unsubscribe()
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, inactive_threshold=_FORGOTTEN_SECONDS)
        if after is not None:
            config.deliver_policy, config.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, int(after) + 1
        return await self._connected().pull_subscribe(f"{self._name}.>", stream=self._name, config=config)

    async def _sent(self, jetstream: JetStreamContext, message: Message, following: int) -> asyncio.Future[Any]:
        headers = {"Nats-Msg-Id": message.id, "Nats-Expected-Last-Sequence": str(following), _POSITION: str(message.position)}
        return await jetstream.publish_async(f"{self._name}.{message.name}", message.body, headers=headers)

    def _connected(self) -> JetStreamContext:
        if self._jetstream is None or self._client is None or not self._client.is_connected:
            raise BrokerAway("not connected")
        return self._jetstream


async def _quietly(_error: Exception) -> None:
    """What goes wrong reaches whoever asked; the client need not write it down as well."""


@asynccontextmanager
async def _answering(longer: float = 0.0) -> AsyncIterator[None]:
    """Whatever goes wrong with the broker is a BrokerAway, within a bounded time."""
    from nats.errors import Error

    try:
        async with asyncio.timeout(_ANSWER_SECONDS + longer):
            yield
    except (Error, OSError, TimeoutError, EOFError) as error:
        raise BrokerAway(type(error).__name__) from None
