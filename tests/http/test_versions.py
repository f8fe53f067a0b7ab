"""Versions: handlers know the current shapes, older ones are served by what was written once, and what has ended is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import Field

from fortress import Domain, Fortress
from fortress.clock import FixedClock
from fortress.data import Page
from fortress.domains import standard
from fortress.errors import BrokenRules, CannotStart
from fortress.http import PUBLIC, Created, Input, Lines, Past, get, per_minute, post
from fortress.http.routes import Route
from fortress.settings import Settings
from fortress.testing.client import Client
from shop.orders.manifest import orders

LIMIT = per_minute(10_000)
NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)


class Size(msgspec.Struct, frozen=True):
    length: int
    width: int


class Parcel(msgspec.Struct, frozen=True):
    """v3: sizes by name, weights in grams."""

    grams: int
    size: Size


class ParcelV2(msgspec.Struct, frozen=True):
    """v2: weights in kilograms."""

    kilograms: float
    size: Size


class ParcelV1(msgspec.Struct, frozen=True):
    """v1: sizes as a pair."""

    kilograms: float
    size: tuple[int, int]


class Send(Input):
    grams: int = Field(gt=0, le=30_000)


class SendV2(Input):
    kilograms: float


class SendV1(Input):
    weight: float


def parcel_in_v2(parcel: Parcel) -> ParcelV2:
    return ParcelV2(parcel.grams / 1000, parcel.size)


def parcel_in_v1(parcel: ParcelV2) -> ParcelV1:
    return ParcelV1(parcel.kilograms, (parcel.size.length, parcel.size.width))


def sent_in_v2(sent: SendV2) -> Send:
    return Send(grams=round(sent.kilograms * 1000))


def sent_in_v1(sent: SendV1) -> SendV2:
    return SendV2(kilograms=sent.weight)


V2 = Past(2, deprecated=date(2027, 1, 1), sunset=date(2028, 1, 1), answers=[parcel_in_v2], inputs=[sent_in_v2])
V1 = Past(1, deprecated=date(2026, 1, 1), sunset=date(2027, 6, 1), answers=[parcel_in_v1], inputs=[sent_in_v1])


@post("/parcels", allow=PUBLIC, limit=LIMIT)
async def send_parcel(data: Send) -> Created[Parcel]:
    """Send a parcel."""
    return Created(Parcel(data.grams, Size(3, 4)), at="/parcels/1")


@get("/parcels", allow=PUBLIC, limit=LIMIT)
async def list_parcels() -> Page[Parcel]:
    """List parcels."""
    return Page([Parcel(1500, Size(3, 4))], None)


@get("/scales", allow=PUBLIC, limit=LIMIT)
async def read_scales() -> Size:
    """What no version changed."""
    return Size(1, 2)


@get("/tariffs", allow=PUBLIC, limit=LIMIT, until=2, deprecated=date(2026, 5, 1), sunset=date(2027, 3, 1))
async def read_tariffs() -> Size:
    """What v3 has not."""
    return Size(5, 6)


def parcels(routes: list[Route], *pasts: Past) -> Domain:
    return Domain(name="parcels", routes=routes, versions=pasts)


@get("/parcels/export", allow=PUBLIC, limit=LIMIT)
async def export_parcels() -> Lines[Parcel]:
    """Export parcels."""

    async def batches() -> AsyncIterator[list[Parcel]]:
        yield [Parcel(1500, Size(3, 4))] * 2
        yield [Parcel(500, Size(1, 1))]

    return Lines(batches())


ROUTES = [send_parcel, list_parcels, export_parcels, read_scales, read_tariffs]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
async def api(settings: Settings, clock: FixedClock) -> AsyncIterator[Client]:
    app = Fortress(domains=[*standard, orders, parcels(ROUTES, V1, V2)], version=3, clock=clock).with_settings(settings)
    await app.start()
    yield Client(app, base="/api")
    await app.stop()


async def test_each_version_answers_in_its_own_shape(api: Client) -> None:
    answers = [(await api.get(f"/v{version}/parcels")).json()["items"] for version in (1, 2, 3)]
    assert answers == [
        [{"kilograms": 1.5, "size": [3, 4]}],
        [{"kilograms": 1.5, "size": {"length": 3, "width": 4}}],
        [{"grams": 1500, "size": {"length": 3, "width": 4}}],
    ]


async def test_lines_come_in_the_shape_of_their_version(api: Client) -> None:
    lines = (await api.get("/v1/parcels/export")).body.splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [{"kilograms": 1.5, "size": [3, 4]}] * 2 + [{"kilograms": 0.5, "size": [1, 1]}]


@pytest.mark.parametrize(("version", "body"), [(1, {"weight": 2.5}), (2, {"kilograms": 2.5}), (3, {"grams": 2500})])
async def test_each_version_takes_its_own_shape_and_no_other(api: Client, version: int, body: dict[str, Any]) -> None:
    sent = await api.post(f"/v{version}/parcels", body)
    assert (sent.status, sent.headers["location"]) == (201, f"/api/v{version}/parcels/1")
    assert sent.json().get("grams", 2500) == 2500
    assert sent.json().get("kilograms", 2.5) == 2.5
    for other in {1, 2, 3} - {version}:
        assert (await api.post(f"/v{other}/parcels", body)).status == 422


async def test_an_old_body_that_makes_no_current_one_is_refused_and_no_fault(api: Client) -> None:
    refused = await api.post("/v1/parcels", {"weight": 31.0})
    assert (refused.status, refused.json()["errors"][0]["field"]) == (422, "/grams")


async def test_what_a_version_changed_says_when_it_ends_and_what_follows(api: Client) -> None:
    first, second, third = [await api.get(f"/v{version}/parcels") for version in (1, 2, 3)]
    assert (first.headers["deprecation"], first.headers["sunset"]) == ("@1767225600", "Tue, 01 Jun 2027 00:00:00 GMT")
    assert first.headers["link"] == '</api/v2/parcels>; rel="successor-version"'
    assert second.headers["link"] == '</api/v3/parcels>; rel="successor-version"'
    assert not {"deprecation", "sunset", "link"} & set(third.headers)


async def test_what_no_version_changed_does_not_end(api: Client) -> None:
    assert "deprecation" not in (await api.get("/v1/scales")).headers


@pytest.mark.parametrize(
    ("day", "statuses"),
    [
        (date(2027, 5, 31), [200, 200, 200, 410, 410, 404]),
        (date(2027, 6, 1), [410, 200, 200, 410, 410, 404]),
        (date(2028, 1, 1), [410, 410, 200, 410, 410, 404]),
    ],
)
async def test_after_its_sunset_a_version_is_gone(api: Client, clock: FixedClock, day: date, statuses: list[int]) -> None:
    clock.advance(datetime(day.year, day.month, day.day, tzinfo=UTC) - NOW)
    replies = [await api.get(f"/v{version}{path}") for path in ("/parcels", "/tariffs") for version in (1, 2, 3)]
    assert [reply.status for reply in replies] == statuses
    gone = [reply for reply in replies if reply.status == 410]
    assert {reply.code for reply in gone} == {"versions.gone"}
    assert all('rel="successor-version"' in reply.headers["link"] for reply in gone)


async def test_the_last_moment_of_a_version_is_before_midnight(api: Client, clock: FixedClock) -> None:
    clock.advance(datetime(2027, 6, 1, tzinfo=UTC) - NOW - timedelta(microseconds=1))
    assert (await api.get("/v1/parcels")).status == 200


async def test_use_is_counted_by_version_and_route(api: Client) -> None:
    await api.get("/v1/parcels")
    await api.get("/v3/parcels")
    await api.get("/v3/parcels")
    lines = (await api.call("GET", "/health/metrics", base="")).body.decode().splitlines()
    counted = [line for line in lines if line.startswith("fortress_requests_total") and "/parcels" in line and "GET" in line]
    assert [float(line.rsplit(" ", 1)[1]) for line in sorted(counted)] == [1, 2], counted
    assert 'route="/api/v1/parcels"' in sorted(counted)[0]


async def test_the_document_of_each_version_shows_its_shapes(api: Client) -> None:
    documents = [(await api.get(f"/v{version}/openapi.json")).json() for version in (1, 2, 3)]
    posts = [document["paths"]["/parcels"]["post"] for document in documents]
    bodies = [post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1] for post in posts]
    answers = [post["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].rsplit("/")[-1] for post in posts]
    assert (bodies, answers) == (["SendV1", "SendV2", "Send"], ["ParcelV1", "ParcelV2", "Parcel"])
    assert [post.get("deprecated", False) for post in posts] == [True, True, False]


def unmarked(parcel: Parcel):  # type: ignore[no-untyped-def]
    return parcel


def other_in_v2(parcel: Parcel) -> ParcelV1:
    raise AssertionError(parcel)


def of_nothing(size: ParcelV1) -> Size:
    raise AssertionError(size)


@pytest.mark.parametrize(
    ("pasts", "said"),
    [
        ([Past(3, date(2027, 1, 1), date(2028, 1, 1), [parcel_in_v2])], "the past of v3 is not past"),
        ([Past(0, date(2027, 1, 1), date(2028, 1, 1), [parcel_in_v2])], "the past of v0 is not past"),
        ([Past(2, date(2027, 1, 2), date(2027, 1, 1), [parcel_in_v2])], "v2 stops before it is discouraged"),
        ([Past(2, date(2027, 1, 1), date(2028, 1, 1), [of_nothing])], "of_nothing changes nothing in v2"),
        ([V1], "parcel_in_v1 changes nothing in v1"),
    ],
)
def test_a_past_that_can_not_be_is_named_at_the_start(pasts: list[Past], said: str) -> None:
    app = Fortress(domains=[*standard, parcels(ROUTES, *pasts)], version=3)
    with pytest.raises(BrokenRules) as broken:
        app.assemble()
    assert said in [breach.what for breach in broken.value.breaches]
    assert {breach.rule for breach in broken.value.breaches} == {"API003"}


@pytest.mark.parametrize(
    ("pasts", "said"),
    [
        ([Past(2, date(2027, 1, 1), date(2028, 1, 1), [unmarked])], "must say what it takes"),
        ([V2, Past(2, date(2027, 1, 1), date(2028, 1, 1), [other_in_v2])], "two pasts"),
    ],
)
def test_a_past_that_is_unclear_does_not_start(pasts: list[Past], said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        Fortress(domains=[*standard, parcels(ROUTES, *pasts)], version=3).assemble()
