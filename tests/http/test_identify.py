"""Who asks: one kind of credentials, cookies last, and only from where they may be used."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.background import Background
from fortress.clock import FixedClock
from fortress.context import RequestContext
from fortress.errors import BadRequest, Forbidden, Unauthenticated
from fortress.http.identify import AddressNotAllowed, Bearer, HeaderKey, Identify, is_within
from fortress.http.request import Request
from fortress.security.outsiders import CAPACITY, EVERY_SECONDS, Outsiders
from fortress.security.permissions import Method
from fortress.security.principal import ANONYMOUS, Principal

ANN = Principal(uuid4(), Method.SESSION, session=uuid4())
BOUND = Principal(uuid4(), Method.API_KEY, session=uuid4(), networks=(ip_network("203.0.113.0/24"),))


class Known:
    """A verifier that knows `good`, by heart or after a look."""

    def __init__(self, caller: Principal, *, by_heart: bool = True) -> None:
        self.caller, self.by_heart = caller, by_heart
        self.looked: list[str] = []

    def known(self, credentials: str) -> Principal | None:
        return self.caller if self.by_heart and credentials == "good" else None

    async def verify(self, credentials: str) -> Principal:
        self.looked.append(credentials)
        if credentials != "good":
            raise Unauthenticated
        return self.caller


class Jar:
    """Credentials that come by themselves, in a header of the test's."""

    def __init__(self, caller: Principal, *, by_heart: bool = True) -> None:
        self.verifier = Known(caller, by_heart=by_heart)

    def find(self, request: Request) -> str | None:
        value = request.head.get(b"x-jar")
        return None if value is None else value.decode()

    def admit(self, request: Request, caller: Principal) -> None:
        if b"x-meant" not in request.head:
            raise Forbidden


class Directory:
    """Counts what is written down."""

    def __init__(self) -> None:
        self.refused: list[UUID] = []

    async def caller_of_session(self, session: UUID, user: UUID) -> None:
        return None

    async def caller_of_key(self, key: UUID) -> None:
        return None

    async def key_seen(self, key: UUID, *, previous: bool = False) -> None:
        return None

    async def key_refused(self, owner: UUID, key: UUID) -> None:
        self.refused.append(key)


class Scene:
    def __init__(self, schemes: Sequence[Any]) -> None:
        self.directory, self.background = Directory(), Background()
        self.clock = FixedClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.outsiders = Outsiders(self.directory, self.background, self.clock)
        self.identify = Identify(schemes, self.outsiders)

    async def ask(self, address: str = "203.0.113.9", **headers: str) -> Principal:
        """As the gate asks."""
        head = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        scope: dict[str, Any] = {"method": "GET", "path": "/", "query_string": b""}
        request = Request(scope, head, _nothing, RequestContext("request-1", address))
        return self.identify.known(request) or await self.identify.verify(request)


async def _nothing() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("by_heart", [True, False])
class TestBothWays:
    """Whether the caller is remembered or looked up, the same is asked."""

    async def test_a_header_wins_over_the_jar_and_never_falls_back_to_it(self, *, by_heart: bool) -> None:
        jar = Jar(BOUND, by_heart=by_heart)
        scene = Scene([Bearer(Known(ANN, by_heart=by_heart)), HeaderKey(Known(BOUND)), jar])
        assert await scene.ask(authorization="Bearer good", x_jar="good") is ANN
        with pytest.raises(Unauthenticated):
            await scene.ask(authorization="Bearer bad", x_jar="good", x_meant="1")
        assert jar.verifier.looked == []

    async def test_two_headers_are_refused(self, *, by_heart: bool) -> None:
        scene = Scene([Bearer(Known(ANN, by_heart=by_heart)), HeaderKey(Known(BOUND, by_heart=by_heart))])
        with pytest.raises(BadRequest):
            await scene.ask(authorization="Bearer good", x_api_key="good")

    async def test_what_comes_by_itself_must_have_been_meant(self, *, by_heart: bool) -> None:
        scene = Scene([Bearer(Known(ANN)), Jar(ANN, by_heart=by_heart)])
        with pytest.raises(Forbidden):
            await scene.ask(x_jar="good")
        assert await scene.ask(x_jar="good", x_meant="1") is ANN

    async def test_a_bound_key_is_refused_from_elsewhere(self, *, by_heart: bool) -> None:
        scene = Scene([HeaderKey(Known(BOUND, by_heart=by_heart))])
        assert await scene.ask(x_api_key="good") is BOUND
        for address in ("203.0.114.9", "2001:db8::1", "local", "", "203.0.113.9, 203.0.113.9"):
            with pytest.raises(AddressNotAllowed):
                await scene.ask(address, x_api_key="good")


async def test_nobody_is_nobody() -> None:
    assert await Scene([Bearer(Known(ANN)), Jar(ANN)]).ask() is ANONYMOUS


async def test_misuse_of_a_key_is_noted_once_an_hour() -> None:
    scene = Scene([HeaderKey(Known(BOUND))])
    noted = []
    for seconds in (0.0, 1.0, EVERY_SECONDS - 2, 1.0):
        scene.clock.advance(timedelta(seconds=seconds))
        with pytest.raises(AddressNotAllowed):
            await scene.ask("198.51.100.1", x_api_key="good")
        await scene.background.finish(1)
        noted.append(len(scene.directory.refused))
    assert noted == [1, 1, 1, 2]


async def test_what_is_remembered_of_misuse_is_bounded() -> None:
    scene = Scene([])
    for _ in range(CAPACITY + 50):
        scene.outsiders.note(Principal(uuid4(), Method.API_KEY, session=uuid4()))
        await scene.background.finish(1)
    assert len(scene.outsiders) == CAPACITY


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_address_is_in_its_own_networks_however_it_is_written(address: Any, length: int) -> None:
    network = ip_network(f"{address}/{length}", strict=False)
    assert is_within(str(address), (network,))
    assert is_within(f"::ffff:{address}", (network,))
    assert not is_within(f"::{address}", (network,))
