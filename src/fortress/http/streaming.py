"""Sends streams: at the client's pace, for as long as it may listen and is there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from fortress.errors import Refusal
from fortress.http.endpoint import Endpoint
from fortress.http.gate import Gate
from fortress.http.inflight import InFlight, Ticket
from fortress.http.request import Receive, Request, Send
from fortress.http.streams import Stream

WATCH_SECONDS: Final = 0.5
WHOLE, LEFT, OVERDUE, BROKEN = "whole", "left", "overdue", "broken"


class Streaming:
    """Sends streams.

    The deadline of a request is that of each part here: to be made, and to be taken by the client. Who may not ask any more,
    because a token was revoked or has expired, is told nothing further within a second.
    """

    def __init__(self, gate: Gate, inflight: InFlight) -> None:
        self._gate = gate
        self._inflight = inflight

    async def send(self, stream: Stream, request: Request, endpoint: Endpoint, send: Send, ticket: Ticket) -> None:
        """Send it to its end, or to that of its client. What breaks off ends without the last chunk: nobody takes it for whole."""
        pipe = _Pipe(stream, send, self._inflight, ticket)
        await send({"type": "http.response.start", "status": stream.status, "headers": stream.headers})
        sending = asyncio.create_task(pipe.run(whole=request.method != "HEAD"))
        leaving = asyncio.create_task(_left(request.receive))
        ending = BROKEN
        try:
            ending = await self._watched(sending, leaving, pipe, request, endpoint)
        except asyncio.CancelledError:
            if not self._inflight.overdue():
                raise
            ending = OVERDUE
        finally:
            await _end(sending, leaving)
            await stream.close()
            if stream.ended is not None:
                stream.ended(ending, pipe.sent)

    async def _watched(
        self, sending: asyncio.Task[None], leaving: asyncio.Task[None], pipe: _Pipe, request: Request, endpoint: Endpoint
    ) -> str:
        """How it ended."""
        while True:
            done, _ = await asyncio.wait((sending, leaving), timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if sending in done:
                return await self._outcome(sending, pipe)
            if leaving in done:
                return LEFT
            refusal = await self._gate.refuses_still(request, endpoint)
            if refusal is not None:
                await _end(sending)
                await pipe.refuse(refusal)
                return refusal.code

    async def _outcome(self, sending: asyncio.Task[None], pipe: _Pipe) -> str:
        error = sending.exception()
        if error is None:
            return WHOLE
        self._gate.broke(error)
        if not isinstance(error, Refusal):
            return BROKEN
        await pipe.refuse(error)
        return error.code


class _Pipe:
    """One stream on its way to one client.

    Attributes:
        sent: bytes.
    """

    def __init__(self, stream: Stream, send: Send, inflight: InFlight, ticket: Ticket) -> None:
        self.sent = 0
        self._stream = stream
        self._send = send
        self._inflight = inflight
        self._ticket = ticket
        self._full = False

    async def run(self, *, whole: bool) -> None:
        """Send every part and the end; of a stream that is not wanted whole, only the end."""
        if whole:
            async for part in self._stream.parts():
                await self._put(part)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        """Say why nothing more comes, if such streams do and the client takes what it is sent."""
        if self._stream.farewell is not None and not self._full:
            await self._send({"type": "http.response.body", "body": self._stream.farewell(refusal), "more_body": False})

    async def _put(self, part: bytes) -> None:
        self._full = True
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        self._full = False
        self.sent += len(part)
        self._inflight.renew(self._ticket)


async def _left(receive: Receive) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
