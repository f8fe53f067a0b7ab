"""Metrics add up over processes, never fall when one dies, and can be read by Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fortress.errors import CannotStart
from fortress.telemetry.board import Board
from fortress.telemetry.instruments import Merge
from fortress.telemetry.metrics import MAX_CODES, Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    text, _ = metrics.render()
    return {
        sample.name + _shown(sample.labels): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{name}={value}" for name, value in sorted(labels.items())) + "}" if labels else ""


def in_a_process(work: Callable[[], None]) -> None:
    """Run the work in a child that is gone when this returns, as a killed worker would be."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_requests_are_counted_by_route_and_class_and_their_time_by_bounds() -> None:
    metrics = Metrics()
    route = metrics.route("GET", "/api/v1/orders/{id}")
    for status, seconds in ((200, 0.004), (204, 0.02), (404, 0.0005), (503, 30.0)):
        route.observe(status, seconds)
    found = samples(metrics)
    where = "method=GET,route=/api/v1/orders/{id}"
    assert found[f"fortress_requests_total{{{where},status_class=2xx}}"] == 2
    assert found[f"fortress_requests_total{{{where},status_class=4xx}}"] == 1
    assert found[f"fortress_requests_total{{{where},status_class=5xx}}"] == 1
    assert found[f"fortress_request_seconds_bucket{{le=0.001,{where}}}"] == 1
    assert found[f"fortress_request_seconds_bucket{{le=0.005,{where}}}"] == 2
    assert found[f"fortress_request_seconds_bucket{{le=10.0,{where}}}"] == 3
    assert found[f"fortress_request_seconds_bucket{{le=+Inf,{where}}}"] == 4
    assert found[f"fortress_request_seconds_count{{{where}}}"] == 4
    assert found[f"fortress_request_seconds_sum{{{where}}}"] == pytest.approx(30.0245)


def test_a_label_can_not_break_the_text() -> None:
    metrics = Metrics()
    metrics.route("GET", 'a"b\\c\nd').observe(200, 0.1)
    assert 'fortress_requests_total{method=GET,route=a"b\\c\nd,status_class=2xx}' in samples(metrics)


def test_a_route_that_was_never_asked_makes_no_series() -> None:
    metrics = Metrics()
    metrics.route("GET", "/never")
    assert "/never" not in metrics.render()[0].decode()


def test_the_same_instrument_asked_for_twice_is_the_same() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.counter("orders_total", "Orders.").add()
    assert samples(metrics)["fortress_orders_total"] == 2


def test_a_metric_declared_in_two_ways_is_refused() -> None:
    metrics = Metrics()
    metrics.counter("orders_total", "Orders.")
    with pytest.raises(ValueError, match="orders_total"):
        metrics.gauge("orders_total", "Orders.")
    with pytest.raises(ValueError, match="orders_total"):
        metrics.counter("orders_total", "Orders.", {"kind": "a"})


def test_any_process_shows_the_sum_of_all() -> None:
    board = Board.for_workers(2)
    first, second = Metrics(board), Metrics(board)
    for metrics, status in ((first, 200), (second, 200), (second, 500)):
        metrics.route("GET", "/x").observe(status, 0.1)
    for metrics in (first, second):
        found = samples(metrics)
        assert found["fortress_requests_total{method=GET,route=/x,status_class=2xx}"] == 2
        assert found["fortress_requests_total{method=GET,route=/x,status_class=5xx}"] == 1
        assert found["fortress_request_seconds_sum{method=GET,route=/x}"] == pytest.approx(0.3)


def test_processes_need_not_declare_in_the_same_order() -> None:
    board = Board.for_workers(2)
    first, second = Metrics(board), Metrics(board)
    for metrics, names in ((first, "ab"), (second, "ba")):
        for name in names:
            metrics.counter(f"{name}_total", name).add(1 if name == "a" else 10)
    found = samples(first)
    assert (found["fortress_a_total"], found["fortress_b_total"]) == (2, 20)


def test_counters_never_fall_when_a_worker_dies_and_its_successor_goes_on() -> None:
    board = Board.for_workers(1)
    metrics = Metrics(board)

    def count() -> None:
        worker = Metrics(board)
        worker.refused("auth.required")
        worker.tally("hashes_total", "Hashes.", lambda: 5)
        worker.sample()

    metrics.tally("hashes_total", "Hashes.", lambda: 0)
    metrics.refused("auth.required")
    for deaths in range(1, 6):
        in_a_process(count)
        found = samples(metrics)
        assert found["fortress_refusals_total{code=auth.required}"] == 1 + deaths
        assert found["fortress_hashes_total"] == 5 * deaths


def test_gauges_are_of_the_living_only() -> None:
    board = Board.for_workers(1)
    metrics = Metrics(board)
    metrics.watch("pool_in_use", "Connections.", lambda: 3)
    metrics.sample()

    def serve() -> None:
        worker = Metrics(board)
        worker.watch("pool_in_use", "Connections.", lambda: 4)
        worker.sample()
        assert samples(worker)["fortress_pool_in_use"] == 7

    in_a_process(serve)
    assert samples(metrics)["fortress_pool_in_use"] == 3
    assert samples(metrics)["fortress_workers"] == 1


def test_gauges_merge_as_declared() -> None:
    board = Board.for_workers(2)
    first, second = Metrics(board), Metrics(board)
    for merge in Merge:
        first.gauge(merge.value, "G.", merge=merge).set(5)
        second.gauge(merge.value, "G.", merge=merge).set(2)
    found = samples(first)
    assert (found["fortress_sum"], found["fortress_max"], found["fortress_latest"]) == (7, 5, 2)


def test_more_processes_than_room_is_refused_and_a_closed_one_makes_room() -> None:
    board = Board(1)
    metrics = Metrics(board)
    metrics.refused("x")
    with pytest.raises(CannotStart, match="more processes"):
        Metrics(board)
    metrics.close()
    assert samples(Metrics(board))


def test_refusals_of_ever_new_codes_end_in_other() -> None:
    metrics = Metrics()
    for number in range(MAX_CODES + 50):
        metrics.refused(f"code.{number}")
        metrics.refused(f"code.{number}")
    found = samples(metrics)
    assert found["fortress_refusals_total{code=code.0}"] == 2
    assert found["fortress_refusals_total{code=other}"] == 100
    assert sum(name.startswith("fortress_refusals_total") for name in found) == MAX_CODES + 1


def test_a_pool_and_the_hashing_show_their_state() -> None:
    class Pool:
        name, in_use, idle, waiting = "reader", 1, 2, 3

    class Hashing:
        queued, running, rejected = 4, 5, 6

    metrics = Metrics()
    metrics.watch_pool(Pool())
    metrics.watch_hashing(Hashing())
    metrics.waited("reader", 0.02)
    metrics.waited("unknown", 0.02)
    found = samples(metrics)
    for name, value in {"pool_in_use": 1, "pool_idle": 2, "pool_waiting": 3, "pool_wait_seconds_count": 1}.items():
        assert found[f"fortress_{name}{{pool=reader}}"] == value
    assert [found[f"fortress_hash_{name}"] for name in ("queued", "running", "rejected_total")] == [4, 5, 6]


def test_the_limiter_tells_of_its_store() -> None:
    metrics = Metrics()
    metrics.on_round_trip(0.002)
    metrics.on_store_error(TimeoutError())
    metrics.on_fallback(object())
    found = samples(metrics)
    for name in ("round_trips_total", "store_errors_total", "fallbacks_total", "round_trip_seconds_count"):
        assert found[f"fortress_limiter_{name}"] == 1


def test_a_board_without_room_for_another_metric_says_so() -> None:
    metrics = Metrics()

    def declare(routes: int) -> None:
        for number in range(routes):
            metrics.route("GET", f"/{number}/" + "x" * 100)

    declare(5000)
    with pytest.raises(CannotStart, match="too many metrics"):
        declare(100_000)


def test_the_text_is_of_the_form_that_every_prometheus_knows() -> None:
    text, kind = Metrics().render()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert text.endswith(b"\n")
    assert b"fortress_build_info{" in text
