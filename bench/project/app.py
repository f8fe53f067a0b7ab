"""The shop, and routes that do nothing. Served by `fortress serve bench.project.app:app`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from bench.project.kept import KeptPeople, KeptService, kept_constant, kept_people
from bench.project.people import (
    PeopleRecords,
    PeopleService,
    PlainPeople,
    PlainPerson,
    SealedPeople,
    SealedPerson,
    list_plain,
    list_sealed,
    make_people,
)
from bench.project.routes import CONSTANT, CONSTANT_USER, LIMITED, constant_route, limited
from bench.project.told import (
    Effect,
    Effects,
    Placed,
    SmallOrder,
    SmallOrders,
    SmallOrderService,
    Stock,
    Stocks,
    hear,
    place_and_tell,
    place_quietly,
    write,
)
from fortress import Fortress
from fortress.domain import Domain
from fortress.domains import standard
from fortress.http import Limit, Route
from shop.orders.manifest import orders

GENEROUS: Final = 10_000
"""How many times its limit a route gets, so that a few clients can send what many would; the peers' limits are as far away."""
_USUAL_ROUTES: Final = 30


def generous(route: Route, limit: Limit) -> Limit:
    """Every limit but the measured one, a good deal higher."""
    return limit if route is limited else msgspec.structs.replace(limit, quota=limit.quota * GENEROUS)


def create_app(routes: int = _USUAL_ROUTES) -> Fortress:
    """The shop with so many routes that answer a constant."""
    several = [constant_route(number) for number in range(routes)]
    bench = Domain(
        name="bench",
        services=[
            PeopleService,
            PeopleRecords,
            SealedPeople,
            PlainPeople,
            KeptPeople,
            KeptService,
            SmallOrderService,
            Stocks,
            SmallOrders,
            Effects,
        ],
        facts=[Placed],
        handlers=[write, hear],
        permissions=[CONSTANT, LIMITED],
        roles=[CONSTANT_USER],
        models=[SealedPerson, PlainPerson, Stock, SmallOrder, Effect],
        routes=[*several, limited, list_plain, list_sealed, kept_constant, kept_people, place_quietly, place_and_tell],
        migrations=Path(__file__).parent / "migrations",
        personal=PeopleRecords,
        demo=make_people,
    )
    return Fortress(title="Bench", version=2, domains=[*standard, orders, bench], limit=generous)


app = create_app()
