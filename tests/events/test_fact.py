"""Facts: what they are about, and that they hold what they say."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar
from uuid import UUID, uuid4

import msgspec
import pytest

from fortress.errors import CannotStart
from fortress.events import Fact
from fortress.events.following import FactKinds
from fortress.fact import decoded, encoded


class Sold(Fact, frozen=True):
    version: ClassVar[int] = 2
    sku: str
    order_id: UUID
    buyer_id: UUID
    total: Decimal


class Said(Fact, frozen=True):
    words: str


def test_a_fact_is_about_its_first_id() -> None:
    order, buyer = uuid4(), uuid4()
    assert Sold("a", order, buyer, Decimal(1)).aggregate == order


def test_a_fact_about_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="Said has no UUID field"):
        _ = Said("hello").aggregate


def test_a_fact_goes_out_and_comes_back() -> None:
    fact = Sold("a", uuid4(), uuid4(), Decimal("1.50"))
    assert decoded(Sold, encoded(fact)) == fact
    assert (Sold.version, Said.version) == (2, 1)


def test_a_fact_holds_what_it_says() -> None:
    with pytest.raises(msgspec.ValidationError):
        encoded(Said(7))  # type: ignore[arg-type]


def test_a_reader_ignores_what_a_newer_writer_adds() -> None:
    assert decoded(Said, b'{"words": "hello", "loud": true}') == Said("hello")


def test_a_fact_cannot_be_changed() -> None:
    fact = Said("hello")
    with pytest.raises(AttributeError):
        fact.words = "bye"  # type: ignore[misc]


class Changed(Fact, frozen=True):
    version: ClassVar[int] = 2
    order_id: UUID


def test_a_changed_fact_must_say_what_it_meant_before() -> None:
    with pytest.raises(CannotStart, match="has version 2, and nothing says"):
        FactKinds([Changed])


def test_two_facts_of_one_name_are_refused() -> None:
    class Said(Fact, frozen=True):
        order_id: UUID

    with pytest.raises(CannotStart, match="two facts called Said"):
        FactKinds([Said, globals()["Said"]])
