"""The one way out for every error: RFC 9457 problem documents, nothing internal inside (ASVS V16.5.1)."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from fortress.errors import Invalid, Refusal
from fortress.http.answers import Answer, Header

PROBLEM_TYPE: Header = (b"content-type", b"application/problem+json; charset=utf-8")


class Incident(msgspec.Struct, frozen=True):
    """What is known of the request that failed."""

    request_id: str
    instance: str
    at: datetime


class ErrorShape(Protocol):
    """How errors look. A project may replace it to serve another API's conventions."""

    def render(self, refusal: Refusal, incident: Incident) -> Answer: ...


class Problems:
    """`application/problem+json` with `error`, `code`, `request_id` and `timestamp`, and `errors` for validation."""

    def render(self, refusal: Refusal, incident: Incident) -> Answer:
        headers = [PROBLEM_TYPE, *((name.encode(), value.encode()) for name, value in refusal.headers.items())]
        return Answer(refusal.status, msgspec.json.encode(document(refusal, incident)), headers)


class Fault(Refusal):
    """What is shown of an error that nobody foresaw: nothing."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side. The request id helps us to find it.")


def document(refusal: Refusal, incident: Incident) -> dict[str, Any]:
    """The problem document of a refusal."""
    shown: dict[str, Any] = {
        "type": f"urn:problem:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        "instance": incident.instance,
        "error": refusal.detail,
        "code": refusal.code,
        "request_id": incident.request_id,
        "timestamp": incident.at,
    }
    if isinstance(refusal, Invalid):
        shown["errors"] = refusal.errors
    return shown | dict(refusal.data)


def phrase(status: int) -> str:
    """The status code's own phrase."""
    return HTTPStatus(status).phrase
