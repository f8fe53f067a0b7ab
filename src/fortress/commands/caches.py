"""What a running server's cache does, as its metrics tell it; for `fortress doctor`."""

from __future__ import annotations

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from fortress.settings import Settings

SECONDS: Final = 2.0
_METRICS: Final = "/health/metrics"
_PREFIX: Final = "fortress_cache_"
_COUNTED: Final = ("hits", "misses", "shared_hits", "loads", "stale", "dropped")


def cache_rows(settings: Settings) -> list[dict[str, Any]] | None:
    """Every cached query and method with its counters, over all workers; None when no server of these settings answers here."""
    text = _metrics(settings)
    if text is None:
        return None
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(_PREFIX) and "cache" in sample.labels:
                counter = sample.name.removeprefix(_PREFIX).removesuffix("_total")
                found.setdefault(sample.labels["cache"], {})[counter] = sample.value
    return [_row(name, counted) for name, counted in sorted(found.items())]


def _row(name: str, counted: dict[str, float]) -> dict[str, Any]:
    asked = counted.get("hits", 0) + counted.get("misses", 0)
    rate = f"{counted.get('hits', 0) / asked:.1%}" if asked else None
    return {"cache": name, "hit rate": rate, **{key: int(counted.get(key, 0)) for key in _COUNTED}}


def _metrics(settings: Settings) -> str | None:
    """The metrics page of the server on this machine; None when there is none, or it does not open the page to us."""
    connection = _connection(settings)
    headers = {"Host": next((name for name in settings.allowed_hosts if not name.startswith("*")), "localhost")}
    if settings.metrics_token is not None:
        headers["Authorization"] = f"Bearer {settings.metrics_token.get_secret_value()}"
    try:
        connection.request("GET", _METRICS, headers=headers)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else None
    except (OSError, HTTPException, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def _connection(settings: Settings) -> HTTPConnection:
    host = _here(settings.host)
    if settings.tls_cert is None:
        return HTTPConnection(host, settings.port, timeout=SECONDS)
    # Whoever answers must be the very server whose certificate is set; by what name we reach it says nothing.
    context = ssl.create_default_context(cafile=str(settings.tls_cert))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return HTTPSConnection(host, settings.port, timeout=SECONDS, context=context)


def _here(host: str) -> str:
    """Where a server that listens on this address is reached from the machine itself."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return ("127.0.0.1" if address.version == 4 else "::1") if address.is_unspecified else host
