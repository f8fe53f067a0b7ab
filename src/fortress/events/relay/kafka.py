"""A topic in Kafka. Batches are transactions under one transactional id: a relay that starts fences the one before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from fortress.errors import CannotStart
from fortress.events.relay.stream import BrokerAway, Message, Overtaken, Position, Received

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

_ANSWER_SECONDS: Final = 10.0
_cursor: Final = msgspec.json.Decoder(dict[int, int])


class KafkaStream:
    """One topic; messages of one aggregate share a partition.

    Args:
        url: kafka://host:port; several hosts with commas.
        name: the topic, and with it the transactional id of its relay. The brokers make it, or their operators do.

    Raises:
        CannotStart: aiokafka is not installed, or the URL names nobody.
    """

    def __init__(self, url: str, name: str) -> None:
        try:
            import aiokafka
        except ImportError:
            raise CannotStart("FORTRESS_BROKER_URL=kafka://… needs aiokafka", hint="pip install 'fortress[kafka]'") from None
        self._servers = urlsplit(url).netloc
        if not self._servers:
            raise CannotStart("FORTRESS_BROKER_URL is not kafka://host:port")
        self._kafka = aiokafka
        self._name = name
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._places: dict[int, int] = {}
        self._read_to: str | None = None

    def __repr__(self) -> str:
        return f"KafkaStream({self._name!r})"

    async def open(self) -> None:
        """Nothing yet: who sends and who reads connect for themselves."""

    async def close(self) -> None:
        producer, consumer, self._producer, self._consumer = self._producer, self._consumer, None, None
        for one in (producer, consumer):
            if one is not None:
                with suppress(Exception):
                    await asyncio.wait_for(one.stop(), _ANSWER_SECONDS)

    async def last(self) -> Position | None:
        """A new producer, which fences every other one; where the stream ends is then what the database says."""
        await self.close()
        async with _answering():
            producer = self._kafka.AIOKafkaProducer(
                bootstrap_servers=self._servers,
                transactional_id=f"fortress-{self._name}",
                enable_idempotence=True,
                request_timeout_ms=int(_ANSWER_SECONDS * 1000),
            )
            self._producer = producer
            await producer.start()
        return None

    async def send(self, messages: Sequence[Message]) -> None:
        from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

        if self._producer is None:
            raise BrokerAway("not connected")
        try:
            async with _answering(), self._producer.transaction():
                sent = [await self._producer.send(self._name, message.body, key=message.aggregate.encode()) for message in messages]
                await asyncio.gather(*sent)
        except (ProducerFenced, InvalidProducerEpoch):
            raise Overtaken from None

    async def read(self, after: str | None, most: int, seconds: float) -> Sequence[Received]:
        async with _answering():
            if self._consumer is None or after != self._read_to:
                await self._seek(after)
            consumer = self._consumer
            assert consumer is not None, "made by _seek"
            found = await consumer.getmany(timeout_ms=int(seconds * 1000), max_records=most)
        return [self._received(record) for records in found.values() for record in records]

    async def _seek(self, after: str | None) -> None:
        if self._consumer is None:
            self._consumer = self._kafka.AIOKafkaConsumer(
                bootstrap_servers=self._servers, enable_auto_commit=False, isolation_level="read_committed", auto_offset_reset="earliest"
            )
            await self._consumer.start()
        numbers = self._consumer.partitions_for_topic(self._name) or await self._found()
        partitions = [self._kafka.TopicPartition(self._name, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        self._places = {} if after is None else _cursor.decode(after)
        for partition in partitions:
            if partition.partition in self._places:
                self._consumer.seek(partition, self._places[partition.partition])
            else:
                await self._consumer.seek_to_beginning(partition)
        self._read_to = after

    async def _found(self) -> set[int]:
        """The topic's partitions, as the brokers say that they are now."""
        assert self._consumer is not None, "who asks has one"
        await self._consumer.topics()
        return set(self._consumer.partitions_for_topic(self._name) or ())

    def _received(self, record: Any) -> Received:
        self._places[record.partition] = record.offset + 1
        self._read_to = msgspec.json.encode(self._places).decode()
        return Received(self._read_to, record.value or b"")


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Whatever goes wrong with Kafka is a BrokerAway, but being fenced."""
    from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

    try:
        async with asyncio.timeout(_ANSWER_SECONDS * 2):
            yield
    except (ProducerFenced, InvalidProducerEpoch):
        raise
    except (KafkaError, OSError, TimeoutError) as error:
        raise BrokerAway(type(error).__name__) from None
