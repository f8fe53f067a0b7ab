"""Large answers to whoever accepts gzip; never where their length could tell of a secret."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress import Domain, Fortress
from fortress.data import Entity, Expected, Key, Version
from fortress.domains import standard
from fortress.http import PUBLIC, get, per_minute, post, put
from fortress.http.compression import SMALLEST, accepts_gzip, of_any_coding
from fortress.settings import Settings
from fortress.testing.client import Client, Reply

OFTEN = per_minute(6000)
GZIP = {"accept-encoding": "gzip"}
ONE = UUID(int=1)


class Tale(Entity, frozen=True):
    __tablename__ = "tales"
    id: Key
    words: str
    version: Version


@get("/tales/{words:int}", allow=PUBLIC, limit=OFTEN)
async def read_tale(words: int) -> Tale:
    """Read a tale of so many words."""
    return Tale(id=ONE, words="word " * words, version=7)


@put("/tales/{words:int}", allow=PUBLIC, limit=OFTEN)
async def replace_tale(words: int, expected: Expected) -> None:
    """Replace a tale."""
    del words
    expected.of(Tale(id=ONE, words="", version=7))


@get("/digests", allow=PUBLIC, limit=OFTEN, etag=True)
async def read_digest() -> list[str]:
    """Read what has no version."""
    return ["word"] * 400


@post("/secrets", allow=PUBLIC, limit=OFTEN)
async def make_secret() -> list[str]:
    """Hand out a secret."""
    return ["secret"] * 400


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    routes = [read_tale, replace_tale, read_digest, make_secret]
    app = Fortress(domains=[*standard, Domain("tales", routes=routes)]).with_settings(settings)
    await app.start()
    yield Client(app)
    await app.stop()


def is_packed(reply: Reply) -> bool:
    return reply.headers.get("content-encoding") == "gzip"


async def test_a_large_answer_is_sent_compressed(client: Client) -> None:
    plain, packed = await client.get("/tales/1000"), await client.get("/tales/1000", headers=GZIP)
    assert (is_packed(plain), is_packed(packed)) == (False, True)
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 10
    assert packed.headers["content-length"] == str(len(packed.body))
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"


async def test_a_very_large_answer_is_compressed_beside_the_loop(client: Client) -> None:
    packed = await client.get("/tales/40000", headers=GZIP)
    assert gzip.decompress(packed.body) == (await client.get("/tales/40000")).body


async def test_a_small_answer_is_sent_as_it_is(client: Client) -> None:
    small = await client.get("/tales/10", headers=GZIP)
    assert len(small.body) < SMALLEST
    assert not is_packed(small)


async def test_head_says_what_get_would(client: Client) -> None:
    head, got = await client.call("HEAD", "/tales/1000", headers=GZIP), await client.get("/tales/1000", headers=GZIP)
    for name in ("content-encoding", "content-length", "etag", "vary", "content-type"):
        assert head.headers[name] == got.headers[name]
    assert head.body == b""


async def test_with_a_cookie_nothing_is_compressed(client: Client) -> None:
    """A browser sends cookies for any site that makes it ask (BREACH)."""
    assert not is_packed(await client.get("/tales/1000", headers=GZIP | {"cookie": "a=b"}))


async def test_what_hands_out_secrets_is_not_compressed(client: Client) -> None:
    answer = await client.post("/secrets", headers=GZIP)
    assert (len(answer.body) > SMALLEST, is_packed(answer)) == (True, False)


async def test_each_coding_has_a_strong_tag_of_its_own_and_both_are_of_one_version(client: Client) -> None:
    plain, packed = await client.get("/tales/1000"), await client.get("/tales/1000", headers=GZIP)
    tags = plain.headers["etag"], packed.headers["etag"]
    assert tags == ('"7"', '"7;gzip"')
    for tag in tags:
        known = await client.get("/tales/1000", headers=GZIP | {"if-none-match": tag})
        assert (known.status, known.headers["etag"], known.headers["vary"]) == (304, tag, "accept-encoding")
        assert (await client.put("/tales/1000", headers={"if-match": tag})).status == 204
    assert (await client.put("/tales/1000", headers={"if-match": '"6;gzip"'})).status == 412
    assert (await client.get("/tales/1000", headers={"if-none-match": '"6;gzip"'})).status == 200


async def test_a_weak_tag_is_of_every_coding(client: Client) -> None:
    plain, packed = await client.get("/digests"), await client.get("/digests", headers=GZIP)
    assert is_packed(packed)
    assert plain.headers["etag"] == packed.headers["etag"]
    assert (await client.get("/digests", headers=GZIP | {"if-none-match": packed.headers["etag"]})).status == 304


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("br, zstd, gzip;q=0.5", True),
        ("deflate , gzip ; q=1.000", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("", False),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.2, identity", False),
        ("gzip;q=2", False),
        ("gzip;level=9", False),
        ("gzip,,", False),
        ("gzip," * 60 + "gzip", False),
    ],
)
def test_a_client_says_whether_it_takes_gzip(accepted: str, packed: bool) -> None:
    assert accepts_gzip(accepted.encode()) is packed


@given(st.binary(max_size=80) | st.text("gzip*;q=01., ", max_size=40).map(str.encode))
def test_whatever_is_accepted_is_read(accepted: bytes) -> None:
    assert accepts_gzip(accepted) in (True, False)


@given(st.integers(0, 2**63).map(lambda version: b'"%d"' % version))
def test_a_tag_is_found_under_its_coding(tag: bytes) -> None:
    assert of_any_coding(tag[:-1] + b';gzip"') == of_any_coding(tag) == tag
