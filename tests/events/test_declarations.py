"""Subscribers and jobs as they are declared: what is wrong is refused at once, with what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.events import LOW, Fact, backoff, cron, every, job, on


class Mailing(Protocol):
    async def send(self) -> None: ...


class Sold(Fact, frozen=True):
    order_id: UUID


ORDER = UUID("01890000-0000-7000-8000-000000000001")


@job(priority=LOW)
async def send_receipt(order_id: UUID, mail: Mailing, until: datetime | None = None) -> None: ...


def test_what_json_holds_is_given_and_the_rest_are_services() -> None:
    assert list(send_receipt.data) == ["order_id", "until"]


def test_a_job_is_named_by_where_it_stands() -> None:
    assert send_receipt.name == f"{__name__.rpartition('.')[2]}.send_receipt"
    assert job(name="mail.receipt")(send_receipt.run).name == "mail.receipt"


def test_what_is_kept_comes_back() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    kept = send_receipt.kept({"order_id": ORDER, "until": moment})
    assert kept == {"order_id": str(ORDER), "until": "2026-01-01T00:00:00Z"}
    assert send_receipt.given(kept) == {"order_id": ORDER, "until": moment}


def test_what_a_newer_release_kept_beside_it_is_left_out() -> None:
    assert send_receipt.given({"order_id": str(ORDER), "colour": "red"}) == {"order_id": ORDER}


@pytest.mark.parametrize(
    ("given_", "problem"),
    [({}, "needs order_id"), ({"order_id": ORDER, "sku": 1}, "does not take sku"), ({"mail": 1}, "does not take mail")],
)
def test_wrong_parameters_are_refused(given_: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        send_receipt.kept(given_)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        send_receipt.kept({"order_id": 7})


def test_terms_belong_to_one_enqueuing() -> None:
    later = send_receipt.on(after=timedelta(hours=1), lock="a", key="b")
    assert (later.terms.after, later.terms.lock, later.terms.key) == (timedelta(hours=1), "a", "b")
    assert send_receipt.terms.after is None
    with pytest.raises(ValueError, match="not both"):
        send_receipt.on(after=timedelta(1), at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="zone"):
        send_receipt.on(at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


def test_only_coroutine_functions_can_wait() -> None:
    def plain() -> None: ...

    with pytest.raises(TypeError, match="no coroutine function"):
        job()(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no coroutine function"):
        on(Sold)(plain)  # type: ignore[arg-type]


def test_a_subscriber_hears_something_in_some_lanes() -> None:
    async def hear(fact: Sold) -> None: ...

    assert on(Sold)(hear).facts == (Sold,)
    with pytest.raises(TypeError, match="hears nothing"):
        on()(hear)
    with pytest.raises(ValueError, match="1 to 256 lanes"):
        on(Sold, lanes=0)(hear)


def test_a_schedule_is_refused_when_it_is_none() -> None:
    async def tidy() -> None: ...

    assert cron("30 3 * * *")(tidy).schedule == "30 3 * * *"
    with pytest.raises(ValueError, match="no schedule"):
        cron("every now and then")
    with pytest.raises(ValueError, match="no period"):
        every("fortnight")(tidy)  # type: ignore[arg-type]


def test_a_period_is_spread_by_the_name_and_stays_where_it_is() -> None:
    async def tidy() -> None: ...

    schedules = {every("day", name=f"things.tidy_{number}")(tidy).schedule for number in range(50)}
    assert len(schedules) > 30
    assert every("day", name="a.b")(tidy).schedule == every("day", name="a.b")(tidy).schedule


@given(st.integers(1, 200))
def test_pauses_grow_to_a_bound_and_end(failures: int) -> None:
    retry = backoff(times=100, first=1, longest=60)
    pause = retry.pause(failures)
    assert (pause is None) == (failures > 100)
    assert pause is None or min(2 ** (failures - 1), 60) / 2 <= pause <= 60


@pytest.mark.parametrize("wrong", [{"times": -1}, {"times": 1, "first": 0}, {"times": 1, "factor": 0.5}, {"times": 1, "longest": 0.1}])
def test_a_backoff_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        backoff(**wrong)
