"""The sink keeps its promises when whoever reads is slow, gone or never comes."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from fortress.telemetry.sink import Sink

SOON = 5.0


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def read_lines(self, count: int) -> list[bytes]:
        data = b""
        while data.count(b"\n") < count:
            ready, _, _ = select.select([self.reader], [], [], SOON)
            assert ready, f"only {data.count(chr(10).encode())} lines came"
            data += os.read(self.reader, 65_536)
        return data.splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def lost(count: int) -> bytes:
    return b"lost %d" % count


def test_lines_come_out_whole_and_in_order(pipe: Pipe) -> None:
    sink = Sink(pipe.writer, lost)
    lines = [b"%d " % number + b"x" * (number % 500) for number in range(2000)]
    done: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: done.append(pipe.read_lines(2000)))
    reader.start()
    for line in lines:
        sink.put(line)
    reader.join(SOON)
    assert done == [lines]


def test_a_line_comes_out_soon_without_any_flush(pipe: Pipe) -> None:
    Sink(pipe.writer, lost).put(b"alone")
    assert pipe.read_lines(1) == [b"alone"]


def test_a_reader_that_hangs_never_holds_up_the_caller_and_losses_are_counted_and_told(pipe: Pipe) -> None:
    sink = Sink(pipe.writer, lost, bound=100_000)
    line = b"x" * 999
    began = time.monotonic()
    for _ in range(2000):
        sink.put(line)
    assert time.monotonic() - began < 1.0
    assert not sink.flush(0.05)
    assert sink.dropped > 0
    written = 2000 - sink.dropped
    lines = pipe.read_lines(written + 1)
    assert lines.count(line) == written
    assert lines[-1] == b"lost %d" % sink.dropped


def test_a_reader_that_is_gone_costs_the_lines_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.reader)
    sink = Sink(pipe.writer, lost)
    sink.put(b"nobody")
    assert sink.flush(SOON)
    sink.put(b"nobody")
    assert sink.flush(SOON)
    assert sink.dropped == 2


def test_lines_of_several_processes_do_not_mix(pipe: Pipe) -> None:
    sink = Sink(pipe.writer, lost)
    children = []
    for letter in (b"a", b"b", b"c"):
        child = os.fork()
        if child == 0:
            for _ in range(300):
                sink.put(letter * 700)
            os._exit(0 if sink.flush(SOON) else 1)
        children.append(child)
    lines = pipe.read_lines(900)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert sorted(set(lines)) == [b"a" * 700, b"b" * 700, b"c" * 700]


def test_a_flush_with_nothing_to_write_is_at_once(pipe: Pipe) -> None:
    assert Sink(pipe.writer, lost).flush(0)
