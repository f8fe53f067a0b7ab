"""What every layer may know of the request it works for."""

from __future__ import annotations

from contextvars import ContextVar

from fortress.security.principal import ANONYMOUS, Principal


class RequestContext:
    """One request, from the edge to the last log line.

    Attributes:
        request_id: ours, or the caller's own valid one.
        address: the client's IP address after trusted proxies.
        principal: set by the gate.
        committed: True once a unit of work has committed; such a request is never retried.
        job: the name of the job that does a part of it, after its answer; None in the request itself.
        subscriber: the name of the subscriber that acts on a fact of it; None in the request itself.
    """

    __slots__ = ("address", "committed", "job", "principal", "request_id", "subscriber")

    def __init__(self, request_id: str, address: str, principal: Principal = ANONYMOUS) -> None:
        self.request_id = request_id
        self.address = address
        self.principal = principal
        self.committed = False
        self.job: str | None = None
        self.subscriber: str | None = None


current: ContextVar[RequestContext | None] = ContextVar("fortress_request", default=None)

# Who sits at the shell in which this process runs a command; nobody while it serves.
operator: ContextVar[str | None] = ContextVar("fortress_operator", default=None)


def request_id() -> str | None:
    """The id of the request that this task works for, if any."""
    context = current.get()
    return context.request_id if context else None
