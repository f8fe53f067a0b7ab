"""Large answers are sent compressed to whoever accepts gzip (RFC 9110 §8.4, §12.5.3).

Only what is read without a cookie. Compression tells of a secret by its length when an attacker chooses a part of the answer and
makes the victim's browser ask for it again and again (BREACH): a browser does that with cookies alone, for no other site knows a
token or a key. What hands out secrets (signing in, refreshing, new keys) is never a GET, so it is never compressed either.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from functools import lru_cache
from typing import Final

from fortress.http.answers import Answer, Header
from fortress.http.request import Request

SMALLEST: Final = 1024
"""Bytes; less than that fits a packet or two, compressed or not."""
_LARGEST_ON_THE_LOOP: Final = 64 * 1024
# Half the time of the usual level for lists of JSON, and 6 % more bytes.
_LEVEL: Final = 1
_GZIP_FRAME: Final = 16 + zlib.MAX_WBITS
_READING: Final = frozenset({"GET", "HEAD"})
_TEXT: Final = (b"application/json", b"application/problem+json", b"text/", b"application/javascript", b"image/svg+xml")
VARY: Final[Header] = (b"vary", b"accept-encoding")
_GZIP: Final[Header] = (b"content-encoding", b"gzip")
_SUFFIX: Final = b';gzip"'
_CODING: Final = re.compile(rb"([a-z0-9!#$%&'*+.^_`|~-]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_MAX_HEADER: Final = 256


async def compressed(answer: Answer, request: Request) -> Answer:
    """The answer as it is sent: compressed where that is safe, worth it and accepted, else as it was."""
    if not _may_be(answer, request):
        return answer
    answer.headers = (*answer.headers, VARY)
    if not accepts_gzip(request.head.get(b"accept-encoding", b"")):
        return answer
    body = answer.body
    packed = await asyncio.to_thread(_gzip, body) if len(body) > _LARGEST_ON_THE_LOOP else _gzip(body)
    if len(packed) < len(body):
        answer.body = packed
        answer.headers = (*map(_for_gzip, answer.headers), _GZIP)
    return answer


def of_any_coding(tag: bytes) -> bytes:
    """The entity tag without what says how its answer was coded: all codings are of one version."""
    return tag[: -len(_SUFFIX)] + b'"' if tag.endswith(_SUFFIX) else tag


@lru_cache(maxsize=128)
def accepts_gzip(accepted: bytes) -> bool:
    """What Accept-Encoding says of gzip; a malformed one, or one of more than 256 bytes, accepts nothing."""
    if len(accepted) > _MAX_HEADER:
        return False
    weights: dict[bytes, float] = {}
    for part in accepted.lower().split(b","):
        found = _CODING.fullmatch(part.strip(b" \t"))
        if found is None:
            return False
        weights[found[1]] = float(found[2] or 1)
    wanted = weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0)))
    return wanted > 0 and wanted >= weights.get(b"identity", 0)


def _may_be(answer: Answer, request: Request) -> bool:
    if request.method not in _READING or answer.status != 200 or b"cookie" in request.head:
        return False
    headers = dict(answer.headers)
    coded = b"content-encoding" in headers or b"set-cookie" in headers
    return not coded and headers.get(b"content-type", b"").startswith(_TEXT)


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FRAME)
    return packer.compress(body) + packer.flush()


def _for_gzip(header: Header) -> Header:
    """A strong entity tag is of one coding (RFC 9110 §8.8.3.3); a weak one is of them all."""
    name, value = header
    return (name, value[:-1] + _SUFFIX) if name == b"etag" and value.startswith(b'"') else header
