"""Services are made once, from what their constructors ask for."""

from __future__ import annotations

from typing import Protocol

import pytest

from fortress.bootstrap.container import Container
from fortress.errors import CannotStart


class Store:
    def __init__(self, url: str) -> None:
        self.url = url


class Service:
    def __init__(self, store: Store, depth: int = 3) -> None:
        self.store = store
        self.depth = depth


class Door(Protocol):
    async def ask(self) -> str: ...


class Behind:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(self) -> str:
        return self.service.store.url


class First:
    def __init__(self, second: Second) -> None: ...


class Second:
    def __init__(self, first: First) -> None: ...


class Untyped:
    def __init__(self, store) -> None: ...  # type: ignore[no-untyped-def]  # what the type checker forbids is the point


def container() -> Container:
    return Container({str: "postgresql://"}, [Store, Service, Behind, First, Second, Untyped], {Door: Behind})


def test_a_service_is_made_with_what_it_asks_for_and_only_once() -> None:
    made = container()
    assert made.get(Service).store.url == "postgresql://"
    assert made.get(Service).depth == 3
    assert made.get(Service) is made.get(Service)


async def test_a_door_gives_the_service_behind_it() -> None:
    made = container()
    door: Door = made.get(Door)
    assert door is made.get(Behind)
    assert await door.ask() == "postgresql://"


def test_what_nobody_provides_is_named() -> None:
    class Needy:
        def __init__(self, number: float) -> None: ...

    with pytest.raises(CannotStart, match="Needy needs a float"):
        Container({}, [Needy], {}).get(Needy)


def test_a_ring_is_named() -> None:
    with pytest.raises(CannotStart, match="First → Second → First"):
        container().get(First)


def test_a_parameter_without_type_is_named() -> None:
    with pytest.raises(CannotStart, match="'store' has no type"):
        container().get(Untyped)


async def test_a_function_is_bound_to_its_services() -> None:
    async def work(service: Service) -> str:
        return service.store.url

    assert await container().bind(work)() == "postgresql://"


def test_a_part_can_be_added_later() -> None:
    made = container()
    made.add(float, 1.5)
    assert made.get(float) == 1.5
