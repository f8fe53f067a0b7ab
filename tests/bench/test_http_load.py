"""A load whose requests were refused is no measurement."""

from __future__ import annotations

import pytest

from bench.client import encode
from bench.http_load import HttpRequest, Load, LoadFailed


def _load(*, requests: int = 100, refused: int = 0, broken: int = 0) -> Load:
    return Load(requests=requests, seconds=1.0, refused=refused, broken=broken, p50_ms=1.0, p99_ms=2.0)


def test_a_load_that_was_answered_is_itself() -> None:
    load = _load()
    assert load.all_answered("ours") is load


@pytest.mark.parametrize("load", [_load(refused=1), _load(broken=1), _load(requests=0)])
def test_a_load_with_a_single_refusal_is_not_counted(load: Load) -> None:
    with pytest.raises(LoadFailed, match="ours"):
        load.all_answered("ours")


def test_a_request_is_one_line_of_four_fields() -> None:
    assert HttpRequest("GET", "/x", {"A": "1", "B": "2"}).line() == "GET\t/x\tA=1|B=2\t"


def test_a_body_is_sent_with_its_length() -> None:
    head, _, body = encode("POST", "/x", {}, b"{}").partition(b"\r\n\r\n")
    assert body == b"{}"
    assert b"Content-Length: 2" in head
