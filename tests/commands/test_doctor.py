"""`fortress doctor`: what is in force, and what a running server's cache does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from fortress.commands.caches import cache_rows
from fortress.commands.shell import shell
from fortress.main import load_app
from fortress.settings import Settings
from fortress.testing.processes import free_port

PAGE = """\
# HELP fortress_cache_hits_total Answers given from this process's memory.
# TYPE fortress_cache_hits_total counter
fortress_cache_hits_total{cache="Books.all"} 9.0
fortress_cache_hits_total{cache="Books.idle"} 0.0
# HELP fortress_cache_misses_total Answers that were not in this process's memory.
# TYPE fortress_cache_misses_total counter
fortress_cache_misses_total{cache="Books.all"} 3.0
# HELP fortress_cache_loads_total Times that an answer was worked out.
# TYPE fortress_cache_loads_total counter
fortress_cache_loads_total{cache="Books.all"} 2.0
# HELP fortress_cache_bytes Bytes.
# TYPE fortress_cache_bytes gauge
fortress_cache_bytes 100.0
"""


@contextmanager
def serving(status: int, seen: dict[str, Any]) -> Iterator[int]:
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.update(path=self.path, host=self.headers["Host"], token=self.headers["Authorization"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_hit_rates_are_those_of_the_server_that_runs_here() -> None:
    seen: dict[str, Any] = {}
    with serving(200, seen) as port:
        settings = Settings(host="0.0.0.0", port=port, allowed_hosts=("*.example.com", "shop.example.com"), metrics_token=SecretStr("t"))
        rows = cache_rows(settings)
    rest = {"misses": 3, "shared_hits": 0, "loads": 2, "stale": 0, "dropped": 0}
    assert rows == [
        {"cache": "Books.all", "hit rate": "75.0%", "hits": 9, **rest},
        {"cache": "Books.idle", "hit rate": None, "hits": 0, **dict.fromkeys(rest, 0)},
    ]
    assert seen == {"path": "/health/metrics", "host": "shop.example.com", "token": "Bearer t"}


def test_a_page_that_is_not_for_us_and_a_server_that_does_not_run_are_said_honestly(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(404, {}) as port:
        assert cache_rows(Settings(port=port)) is None
    monkeypatch.setenv("FORTRESS_PORT", str(free_port()))
    said = CliRunner().invoke(shell(load_app), ["doctor"])
    assert said.exit_code == 0
    assert "No server answers" in said.output
    as_json = json.loads(CliRunner().invoke(shell(load_app), ["doctor", "--json"]).output)
    assert as_json["caches"] is None
    assert "FORTRESS_CACHE_MEMORY" in {row["setting"] for row in as_json["settings"]}
