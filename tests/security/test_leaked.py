"""Leaked passwords: the filter that comes with Fortress, and what is asked of a range service (ASVS V6.2.12)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from fortress.clock import FixedClock
from fortress.security.leaked import LeakedFilter, LeakedPasswords, packaged_filter
from fortress.security.leaked_range import LARGEST_ANSWER, PAUSE, RangeService

SAMPLES = 200_000
# What the file says of itself, and room for chance: with 200,000 samples the rate is known to within a tenth of this.
MOST_TAKEN_FOR_LEAKED = 0.001
LEAKED = "password1"


@pytest.fixture(scope="module")
def packaged() -> LeakedFilter:
    return packaged_filter()


@pytest.mark.parametrize("password", ["password1", "Iloveyou2", "ILOVEYOU2", "michael1", "letmein1", "qwerty123", "dragon12"])
def test_what_everybody_has_seen_is_known_in_whatever_case(packaged: LeakedFilter, password: str) -> None:
    assert password in packaged


@pytest.mark.parametrize("password", ["four stout walls and a moat", "a drawbridge, drawn up", "", "\ud800", "x" * 1024])
def test_what_nobody_uses_is_not(packaged: LeakedFilter, password: str) -> None:
    assert password not in packaged


def test_fewer_than_one_in_a_thousand_good_passwords_is_refused(packaged: LeakedFilter) -> None:
    taken = sum(secrets.token_urlsafe(12) in packaged for _ in range(SAMPLES))
    assert taken / SAMPLES < MOST_TAKEN_FOR_LEAKED


def test_the_file_says_where_it_is_from_and_is_small() -> None:
    from importlib.resources import files

    content = files("fortress.security").joinpath("leaked_passwords.filter").read_bytes()
    assert len(content) < 1024 * 1024
    assert b"public domain" in content.partition(b"\n\n")[0]


def test_a_filter_knows_what_was_put_in_and_survives_the_file() -> None:
    words = [f"word{number}" for number in range(1000)]
    made = LeakedFilter.of(words, bits=16_000, hashes=11)
    read = LeakedFilter.read(made.written("# a test"))
    assert all(word in read and word.upper() in read for word in words)
    assert sum(f"other{number}" in read for number in range(10_000)) < 30


@pytest.mark.parametrize("content", [b"", b"# filter: 8 bits, 1 hashes\n\n", b"# filter: 64 bits, 1 hashes\n\n1234", b"no figures\n\n1234"])
def test_half_a_filter_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a filter|invalid literal"):
        LeakedFilter.read(content)


class Ranges:
    """A range service on loopback, as plain as it can be."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer: Callable[[str], bytes] = lambda _prefix: b""
        self.status = b"200 OK"
        self.silent = False
        self.url = ""
        self.open: list[asyncio.Task[None] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            if not self.silent:
                body = self.answer(head.split()[1].decode().rpartition("/")[2])
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (self.status, len(body), body))
                await writer.drain()
            else:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def ranges() -> AsyncIterator[Ranges]:
    made = Ranges()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/range"
    yield made
    server.close()
    await asyncio.gather(*filter(None, made.open))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def service(ranges: Ranges, clock: FixedClock) -> AsyncIterator[RangeService]:
    made = RangeService(ranges.url, clock)
    yield made
    await made.close()


def listed(password: str, count: int) -> Callable[[str], bytes]:
    suffix = hashlib.sha1(password.encode()).hexdigest().upper()[5:]
    padding = "".join(f"{secrets.token_hex(18)[:35].upper()}:0\r\n" for _ in range(900))
    return lambda _prefix: f"{padding}{suffix}:{count}\r\n".encode()


async def test_only_five_digits_of_the_digest_leave_and_the_answer_is_padded(ranges: Ranges, service: RangeService) -> None:
    ranges.answer = listed("a rare one that leaked", 3)
    assert await service.knows("a rare one that leaked")
    assert not await service.knows("another one")
    digest = hashlib.sha1(b"a rare one that leaked").hexdigest().upper()
    head = ranges.asked[0]
    assert head.startswith(f"GET /range/{digest[:5]} HTTP".encode())
    assert b"add-padding: true" in head.lower()
    assert digest[5:].encode() not in head.upper()
    assert b"rare" not in head


async def test_padding_is_no_leak(ranges: Ranges, service: RangeService) -> None:
    ranges.answer = listed("a fine one", 0)
    assert not await service.knows("a fine one")


@pytest.mark.parametrize("fault", ["500 Internal Server Error", "302 Found", "silent", "endless", "nobody"])
async def test_a_service_that_fails_keeps_nobody_from_choosing_and_is_left_alone(ranges: Ranges, clock: FixedClock, fault: str) -> None:
    ranges.answer = listed("a rare one", 3)
    ranges.silent = fault == "silent"
    if fault[0].isdigit():
        ranges.status = fault.encode()
    if fault == "endless":
        ranges.answer = lambda _prefix: b"x" * (LARGEST_ANSWER + 1)
    service = RangeService("http://127.0.0.1:9/range" if fault == "nobody" else ranges.url, clock, timeout=0.2)
    with capture_logs() as logs:
        assert not await service.knows("a rare one")
        asked = len(ranges.asked)
        assert not await service.knows("a rare one")
        assert len(ranges.asked) == asked, "not asked again at once"
    assert [line["event"] for line in logs] == ["leaked.service_away"]
    assert not {"rare", "range", "127.0.0.1"} & set(str(logs).replace("/", " ").split())
    ranges.silent, ranges.status, ranges.answer = False, b"200 OK", listed("a rare one", 3)
    clock.advance(timedelta(seconds=PAUSE))
    if fault != "nobody":
        assert await service.knows("a rare one")
    await service.close()


async def test_the_service_is_asked_only_what_the_filter_does_not_know(ranges: Ranges, service: RangeService) -> None:
    leaked = LeakedPasswords(service)
    assert await leaked.knows(LEAKED)
    assert not ranges.asked
    ranges.answer = listed("a rare one", 1)
    assert await leaked.knows("a rare one")
    assert not await LeakedPasswords().knows("a rare one")
