"""Requests that a proxy and we could read differently, on raw sockets: refused or closed, one answer at most, never a 500."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Final

import pytest
from tests.faults.harness.answers import statuses
from tests.faults.harness.serving import Server

from fortress.http.headers import SECURITY
from fortress.testing.live import LiveClient, Wire

pytestmark = pytest.mark.faults

REFUSED: Final = {400, 405, 413, 431}
HOST: Final = b"Host: 127.0.0.1\r\n"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
GET: Final = b"GET /health/live HTTP/1.1\r\n"
POST: Final = b"POST /api/v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
NONE: Final = b"0\r\n\r\n"
END: Final = b"\r\n"
# What is answered with 4xx by us, or closed without a word by the parser in front of us.
CORPUS: Final[dict[str, bytes]] = {
    "cl_with_te": POST + HOST + b"Content-Length: 5\r\n" + CHUNKED + END + NONE + SMUGGLED,
    "te_with_cl": POST + HOST + CHUNKED + b"Content-Length: 48\r\n" + END + NONE + SMUGGLED,
    "get_with_cl_and_te": GET + HOST + b"Content-Length: 5\r\n" + CHUNKED + END + NONE + SMUGGLED,
    "two_different_lengths": POST + HOST + b"Content-Length: 0\r\nContent-Length: 44\r\n" + END + SMUGGLED,
    "length_list": POST + HOST + b"Content-Length: 2, 2\r\n" + END + b"{}" + SMUGGLED,
    "length_signed": POST + HOST + b"Content-Length: +2\r\n" + END + b"{}" + SMUGGLED,
    "length_negative": POST + HOST + b"Content-Length: -1\r\n" + END + SMUGGLED,
    "length_hex": POST + HOST + b"Content-Length: 0x2\r\n" + END + b"{}" + SMUGGLED,
    "length_empty": POST + HOST + b"Content-Length: \r\n" + END + SMUGGLED,
    "length_spaced": POST + HOST + b"Content-Length: 1 2\r\n" + END + SMUGGLED,
    "length_absurd": POST + HOST + b"Content-Length: 99999999999999999999999\r\n" + END + SMUGGLED,
    "length_too_big": POST + HOST + b"Content-Length: 999999999999\r\n" + END + SMUGGLED,
    "te_gzip_chunked": POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n" + END + NONE + SMUGGLED,
    "te_twice_in_a_line": POST + HOST + b"Transfer-Encoding: chunked, chunked\r\n" + END + NONE + SMUGGLED,
    "te_twice": POST + HOST + CHUNKED + CHUNKED + END + NONE + SMUGGLED,
    "te_chunked_then_identity": POST + HOST + CHUNKED + b"Transfer-Encoding: identity\r\n" + END + NONE + SMUGGLED,
    "te_identity": POST + HOST + b"Transfer-Encoding: identity\r\n" + END + SMUGGLED,
    "te_unknown": POST + HOST + b"Transfer-Encoding: xchunked\r\n" + END + NONE + SMUGGLED,
    "te_quoted": POST + HOST + b'Transfer-Encoding: "chunked"\r\n' + END + NONE + SMUGGLED,
    "te_vertical_tab": POST + HOST + b"Transfer-Encoding: \x0bchunked\r\n" + END + NONE + SMUGGLED,
    "te_empty": POST + HOST + b"Transfer-Encoding: \r\n" + END + SMUGGLED,
    "te_on_1_0": b"POST /api/v1/auth/login HTTP/1.0\r\n" + HOST + CHUNKED + END + NONE + SMUGGLED,
    "space_before_colon": POST + HOST + b"Transfer-Encoding : chunked\r\n" + END + NONE + SMUGGLED,
    "no_host": GET + END,
    "no_host_1_0": b"GET /health/live HTTP/1.0\r\n" + END,
    "host_twice": GET + HOST + b"Host: evil.example\r\n" + END,
    "host_twice_equal": GET + HOST + HOST + END,
    "host_empty": GET + b"Host: \r\n" + END,
    "host_foreign": GET + b"Host: evil.example\r\n" + END,
    "host_with_user": GET + b"Host: evil@127.0.0.1\r\n" + END,
    "host_with_path": GET + b"Host: 127.0.0.1/evil\r\n" + END,
    "host_list": GET + b"Host: 127.0.0.1, evil.example\r\n" + END,
    "host_with_odd_port": GET + b"Host: 127.0.0.1:evil\r\n" + END,
    "host_with_nul": GET + b"Host: 127.0.0.1\x00.evil\r\n" + END,
    "host_below_ours": GET + b"Host: evil.localhost.example\r\n" + END,
    "trace": b"TRACE /health/live HTTP/1.1\r\n" + HOST + END,
    "track": b"TRACK /health/live HTTP/1.1\r\n" + HOST + END,
    "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + END,
    "propfind": b"PROPFIND /api/v1/products HTTP/1.1\r\n" + HOST + END,
    "method_in_small_letters": b"get /health/live HTTP/1.1\r\n" + HOST + END,
    "method_of_a_thousand": b"A" * 1000 + b" /health/live HTTP/1.1\r\n" + HOST + END,
    "folded_header": GET + HOST + b"X-A: one\r\n two\r\n" + END,
    "folded_te": POST + HOST + b"Transfer-Encoding:\r\n chunked\r\n" + END + NONE + SMUGGLED,
    "nul_in_value": GET + HOST + b"X-A: a\x00b\r\n" + END,
    "nul_in_name": GET + HOST + b"X\x00A: a\r\n" + END,
    "bare_cr_in_value": GET + HOST + b"X-A: a\rTransfer-Encoding: chunked\r\n" + END,
    "leading_space_in_the_first_header": GET + b" " + HOST + END,
    "header_without_a_name": GET + HOST + b": x\r\n" + END,
    "header_without_a_colon": GET + HOST + b"nothing\r\n" + END,
    "authorization_twice": GET + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n" + END,
    "content_type_twice": POST + HOST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n" + END + b"{}",
    "head_beyond_ours": GET + HOST + b"X-A: " + b"a" * 17_000 + b"\r\n" + END,
    "head_far_beyond": GET + HOST + b"X-A: " + b"a" * 200_000 + b"\r\n" + END,
    "thousand_headers": GET + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(1000)) + END,
    "target_far_beyond": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + END,
    "chunk_size_not_hex": POST + HOST + CHUNKED + END + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk_size_negative": POST + HOST + CHUNKED + END + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk_size_prefixed": POST + HOST + CHUNKED + END + b"0x2\r\n{}\r\n0\r\n\r\n",
    "chunk_size_overflow": POST + HOST + CHUNKED + END + b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "chunk_longer_than_said": POST + HOST + CHUNKED + END + b"2\r\n{}smuggled\r\n0\r\n\r\n",
    "chunks_beyond_the_bound": POST + HOST + CHUNKED + END + (b"10000\r\n" + b"a" * 65_536 + b"\r\n") * 17 + NONE,
    "no_http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 64,
    "http_2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http_0_9": b"GET /health/live\r\n\r\n",
    "version_of_the_future": b"GET /health/live HTTP/9.9\r\n" + HOST + END,
    "two_spaces": b"GET  /health/live HTTP/1.1\r\n" + HOST + END,
    "space_in_the_target": b"GET /health/ live HTTP/1.1\r\n" + HOST + END,
}


# Whatever follows on such a connection is thrown away.
_UNSURE: Final = ("chunk", "head_", "thousand", "target_far", "nul_", "bare_")
AMBIGUOUS: Final = frozenset(name for name, raw in CORPUS.items() if SMUGGLED in raw or name.startswith(_UNSURE))
# Asked after whatever came before, on the same connection, to know where the server believes that the next request begins.
SENTINEL: Final = b"GET /sentinel HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def told(server: Server, address: str, raw: bytes) -> tuple[bytes, bool]:
    """What is answered to these bytes, and whether the connection was closed over them."""
    async with await Wire.open(server.port, address) as wire:
        with contextlib.suppress(ConnectionError):
            await wire.send(raw)
        first = await wire.first(5)
        if wire.closing:
            return first, True
        with contextlib.suppress(ConnectionError):
            await wire.send(SENTINEL)
        answered = first + await wire.rest(2)
        before, asked_again, _ = answered.partition(b"/sentinel")
        return before[: before.rfind(b"HTTP/1.1 ")] if asked_again else answered, not asked_again


@pytest.mark.parametrize("name", CORPUS)
async def test_what_can_be_read_two_ways_is_refused_once(name: str, server: Server, address: Callable[[], str]) -> None:
    answered, closed = await told(server, address(), CORPUS[name])
    found = statuses(answered)
    assert len(found) <= 1, answered
    assert set(found) <= REFUSED, answered
    assert found or closed
    assert b"smuggled" not in answered
    if name in AMBIGUOUS:
        assert closed, "a connection of which nobody knows where the next request begins stays open"
    if len(answered) > answered.find(b"\r\n\r\n") + 4:
        shows_nothing_and_is_guarded(answered)


def shows_nothing_and_is_guarded(answered: bytes) -> None:
    """Our own answers, which have a body, carry every security header and the problem shape; nobody's names a product."""
    head, _, body = answered.partition(b"\r\n\r\n")
    lines = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:]}
    assert {name: lines.get(name) for name, _ in SECURITY} == dict(SECURITY)
    assert json.loads(body)["status"] == int(head.split(b" ")[1])
    assert not re.search(rb"granian|hyper|uvloop|python|fortress/|\d+\.\d+\.\d+ ", head, re.IGNORECASE)


async def test_two_equal_lengths_are_one(server: Server, address: Callable[[], str]) -> None:
    raw = POST + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n" + END + b"{}" + GET + HOST + b"Connection: close\r\n" + END
    async with await Wire.open(server.port, address()) as wire:
        await wire.send(raw)
        assert statuses(await wire.rest()) in ([400], [422, 200])


async def test_chunks_stay_what_they_are_when_a_length_says_otherwise(server: Server, address: Callable[[], str]) -> None:
    """RFC 9112 §6.3: the chunks count, and the connection is not used again."""
    for framing in (b"Content-Length: 4\r\n" + CHUNKED, CHUNKED + b"Content-Length: 4\r\n"):
        answered, closed = await told(server, address(), POST + HOST + framing + END + b"2\r\n{}\r\n" + NONE + SMUGGLED)
        assert closed
        assert statuses(answered) in ([400], [422])


async def test_requests_in_a_pipeline_are_answered_in_order(server: Server, address: Callable[[], str]) -> None:
    asked = [b"/api/v1/products?limit=%d" % number for number in range(1, 6)]
    raw = b"".join(b"GET " + target + b" HTTP/1.1\r\n" + HOST + END for target in asked)
    async with await Wire.open(server.port, address()) as wire:
        await wire.send(raw)
        counts = [len((await wire.answer()).json()["items"]) for _ in asked]
    assert counts == [1, 2, 3, 4, 5]


async def test_nothing_is_answered_behind_a_refusal(server: Server, address: Callable[[], str]) -> None:
    answered, closed = await told(server, address(), GET + b"Host: evil.example\r\n" + END + SMUGGLED)
    assert (statuses(answered), closed) == ([400], True)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_method_is_the_one_of_the_request_line(name: str, client: LiveClient) -> None:
    assert (await client.post("/products", {}, headers={name: "GET"})).status == 405
    assert (await client.get("/users/me?_method=DELETE", headers={name: "DELETE"})).status == 401


async def test_lines_that_end_with_a_bare_line_feed_make_one_request(server: Server, address: Callable[[], str]) -> None:
    """The parser takes them and we can't see them; what matters is that nothing after them becomes another request."""
    answered, _ = await told(server, address(), b"GET /health/live HTTP/1.1\nHost: 127.0.0.1\nX-A: b\n\n")
    assert len(statuses(answered)) <= 1
    assert set(statuses(answered)) <= {200, *REFUSED}


async def test_a_target_with_an_authority_does_not_get_past_host(client: LiveClient, server: Server, address: Callable[[], str]) -> None:
    foreign, _ = await told(server, address(), b"GET http://127.0.0.1/health/live HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert statuses(foreign) == [400]
    ours, _ = await told(server, address(), b"GET http://evil.example/api/v1/products HTTP/1.1\r\n" + HOST + END)
    assert statuses(ours) in ([200], [400])
    assert b"evil.example" not in ours


async def test_every_answer_has_the_security_headers_and_names_no_product(client: LiveClient) -> None:
    replies = [
        await client.get("/products"),
        await client.get("/nowhere"),
        await client.call("DELETE", "/products"),
        await client.call("OPTIONS", "/products"),
        await client.get("/users/me"),
        await client.post("/auth/login", {"email": 1}),
        await client.call("GET", "/health/ready", base=""),
        await client.call("HEAD", "/health/live", base=""),
    ]
    assert [reply.status for reply in replies] == [200, 404, 405, 204, 401, 422, 200, 200]
    for reply in replies:
        assert {name: reply.headers.get(name.decode(), "").encode() for name, _ in SECURITY} == dict(SECURITY)
        assert reply.headers["x-request-id"]
        assert "x-powered-by" not in reply.headers
