"""A process that repeats one operation and says what CPU it took. Run by bench.contest, never by hand.

`python -m bench.worker MODULE:FACTORY` reads lines from its standard input, `run N` or `quit`, and answers each with one
line of JSON. It runs under the interpreter of whoever is measured, so it needs nothing but uvloop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TextIO

import uvloop

Operation = Callable[[], Awaitable[object]]
Workload = Callable[..., AbstractAsyncContextManager[Operation]]
Operations = AsyncIterator[Operation]


def _workload(target: str) -> Workload:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)  # type: ignore[no-any-return]


async def _lines() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


async def _run(operation: Operation, times: int) -> dict[str, float]:
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        await operation()
    return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - started}


async def _serve(target: str, arguments: dict[str, object], answers: TextIO) -> None:
    async with _workload(target)(**arguments) as operation:
        print(json.dumps({"ready": True}), file=answers, flush=True)
        async for line in _lines():
            if line == "quit":
                return
            print(json.dumps(await _run(operation, int(line.split()[1]))), file=answers, flush=True)


def _keep_answers_apart() -> TextIO:
    """Our answers get a descriptor of their own; what the measured code prints joins its log, on standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], json.loads(sys.argv[2]), _keep_answers_apart()))
