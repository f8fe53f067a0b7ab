"""The use cases. One method, one action, one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from fortress import Clock, Conflict, FieldError, Ids, PersonalRecords
from fortress.data import WHATEVER, Database, Expected, Page, PageQuery, Unit
from fortress.events import LOW, job
from fortress.security import SYSTEM, Principal
from shop.orders.contract import NotCancellable, NotChangeable, OutOfStock, UnknownProduct
from shop.orders.events import OrderCancelled, OrderPlaced, StockLow
from shop.orders.models import Order, OrderLine, OrderStatus, Product
from shop.orders.repository import OrderRepository, ProductRepository

PAY_WITHIN: Final = timedelta(days=14)
SCARCE: Final = 5


class OrderService:
    """Buying: look around, place, look up, cancel."""

    def __init__(self, database: Database, orders: OrderRepository, products: ProductRepository, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._orders = orders
        self._products = products
        self._clock = clock
        self._ids = ids

    async def on_sale(self, query: PageQuery, caller: Principal) -> Page[Product]:
        """The products, newest first."""
        return await self._products.on_sale(self._database.reader(caller), query=query)

    async def read(self, order_id: UUID, caller: Principal) -> Order:
        """An order within the caller's reach, or NotFound."""
        return await self._orders.by_id(self._database.reader(caller), id=order_id)

    async def recent(self, query: PageQuery, caller: Principal) -> Page[Order]:
        """The orders within the caller's reach, newest first."""
        return await self._orders.recent(self._database.reader(caller), query=query)

    def every(self, caller: Principal) -> AsyncIterator[list[Order]]:
        """All orders within the caller's reach, newest first, in batches; as many as there are."""
        return self._orders.recent.batches(self._database.reader(caller))

    async def place(self, wanted: Mapping[str, int], buyer: Principal, note: str | None = None) -> Order:
        """Reserve the stock and record the order, or change nothing.

        Args:
            wanted: how many of each SKU.
            buyer: whose order it becomes.
            note: what they want us to know.

        Raises:
            OutOfStock: a product has fewer units left than wanted.
            UnknownProduct: there is no product of that SKU.
        """
        async with self._database.unit(buyer) as unit:
            products = await self._reserve(unit, wanted)
            order = draft(self._ids.new(), products, wanted, buyer, self._clock.now(), note)
            await self._orders.add(unit, order)
            unit.record(OrderPlaced(order_id=order.id, buyer_id=buyer.id, total=order.total))
            unit.audit("orders.placed", target=order.id, detail={"total": str(order.total)})
            unit.enqueue(look_at_shelves, skus=sorted(wanted))
        return order

    async def cancel(self, order_id: UUID, caller: Principal, expected: Expected = WHATEVER) -> Order:
        """Call off an order and free its stock.

        Args:
            order_id: which.
            caller: who calls it off.
            expected: as what they have seen it.

        Raises:
            StaleVersion: it has changed since they have seen it.
            NotFound: not there, or not within the caller's reach.
            NotCancellable: it is shipped or cancelled already.
        """
        async with self._database.unit(caller) as unit:
            order = expected.of(await self._orders.by_id(unit, id=order_id))
            if order.status is not OrderStatus.PLACED:
                raise NotCancellable
            cancelled = await self._orders.save(unit, msgspec.structs.replace(order, status=OrderStatus.CANCELLED))
            freed = quantities(order.lines)
            await self._products.put_back(unit, skus=list(freed), quantities=list(freed.values()))
            unit.record(OrderCancelled(order_id=order.id, buyer_id=order.user_id))
            unit.audit("orders.cancelled", target=order.id)
        return cancelled

    async def change(self, order_id: UUID, changed: Callable[[Order], Order], caller: Principal, expected: Expected = WHATEVER) -> Order:
        """Change what the buyer says with an order.

        Args:
            order_id: which.
            changed: makes the order as it shall be of the one that is.
            caller: who changes it.
            expected: as what they have seen it.

        Raises:
            StaleVersion: it has changed since they have seen it.
            NotFound: not there, or not within the caller's reach.
            NotChangeable: it is shipped or cancelled already.
        """
        async with self._database.unit(caller) as unit:
            order = expected.of(await self._orders.by_id(unit, id=order_id))
            if order.status is not OrderStatus.PLACED:
                raise NotChangeable
            wanted = changed(order)
            if wanted == order:
                return order
            saved = await self._orders.save(unit, wanted)
            unit.audit("orders.changed", target=order.id)
        return saved

    async def release_unpaid(self) -> None:
        """Call off what was not paid within PAY_WITHIN, each order by itself; what is shipped meanwhile stays."""
        before = self._clock.now() - PAY_WITHIN
        for order in await self._orders.unpaid_before(self._database.reader(SYSTEM), moment=before):
            with suppress(Conflict):
                await self.cancel(order.id, SYSTEM)

    async def note_scarcity(self, skus: Sequence[str]) -> None:
        """Say of which of these products few units are left."""
        async with self._database.unit(SYSTEM) as unit:
            for product in await self._products.of_skus(unit, skus=list(skus)):
                if product.stock < SCARCE:
                    unit.record(StockLow(product_id=product.id, sku=product.sku, left=product.stock))

    async def open_orders_of(self, person: UUID) -> int:
        """How many orders of this person are not finished yet."""
        return len(await self._orders.placed_by(self._database.reader(SYSTEM), person=person))

    async def _reserve(self, unit: Unit, wanted: Mapping[str, int]) -> Sequence[Product]:
        taken = await self._products.take(unit, skus=list(wanted), quantities=list(wanted.values()))
        if len(taken) < len(wanted):
            known = await self._products.of_skus(unit, skus=list(wanted))
            raise why_not(wanted, known, {product.sku for product in taken})
        return taken


@job(priority=LOW)
async def look_at_shelves(skus: list[str], orders: OrderService) -> None:
    """After a sale: tell whoever restocks, when little is left."""
    await orders.note_scarcity(skus)


class OrderRecords(PersonalRecords):
    """What the shop knows of a person: their orders, and what they wrote to us with them."""

    def __init__(self, database: Database, orders: OrderRepository) -> None:
        self._database = database
        self._orders = orders

    async def export(self, person: UUID) -> Mapping[str, Sequence[Order]]:
        """Their orders with the notes, oldest first."""
        return {"orders": await self._orders.of_person(self._database.reader(SYSTEM), person=person)}

    async def erase(self, unit: Unit, person: UUID) -> None:
        """Their notes. What was sold for how much stays: the books need it, and it names nobody."""
        await self._orders.forget_notes(unit, person=person)


def draft(
    order_id: UUID, products: Iterable[Product], wanted: Mapping[str, int], buyer: Principal, now: datetime, note: str | None = None
) -> Order:
    """The order that these products make. Pure: what it decides is tested without a database."""
    lines = tuple(
        OrderLine(sku=product.sku, name=product.name, quantity=wanted[product.sku], price=product.price)
        for product in sorted(products, key=lambda product: product.sku)
    )
    total = sum((line.price * line.quantity for line in lines), Decimal("0.00"))
    return Order(
        id=order_id, user_id=buyer.id, status=OrderStatus.PLACED, total=total, lines=lines, note=note, created_at=now, version=1
    )  # fmt: skip


def quantities(lines: Iterable[OrderLine]) -> dict[str, int]:
    """How many of each SKU these lines hold."""
    counted: Counter[str] = Counter()
    for line in lines:
        counted[line.sku] += line.quantity
    return dict(counted)


def why_not(wanted: Mapping[str, int], known: Iterable[Product], taken: set[str]) -> OutOfStock | UnknownProduct:
    """Why these can't all be had: a SKU that does not exist, else the first of which too few are left."""
    stock = {product.sku: product.stock for product in known}
    unknown = [sku for sku in wanted if sku not in stock]
    if unknown:
        return UnknownProduct([FieldError("/items", f"There is no product {sku}", "unknown_product") for sku in unknown])
    short = next((sku for sku in wanted if sku not in taken), next(iter(wanted)))
    return OutOfStock(short, stock[short])


DEMO_PRODUCTS = (
    ("TEA-GREEN", "Green tea, 100 g", "6.50", 120),
    ("TEA-BLACK", "Black tea, 100 g", "5.90", 80),
    ("CUP-STONE", "Stoneware cup", "14.00", 40),
    ("POT-IRON", "Cast-iron pot, 0.8 l", "48.00", 12),
    ("HONEY-JAR", "Forest honey, 250 g", "7.20", 1),
)


async def stock_the_shelves(database: Database, products: ProductRepository, clock: Clock, ids: Ids) -> None:
    """Fill an empty development shop with something to buy."""
    reader = database.reader(SYSTEM)
    if await products.of_skus(reader, skus=[sku for sku, *_ in DEMO_PRODUCTS]):
        return
    async with database.unit(SYSTEM) as unit:
        for sku, name, price, stock in DEMO_PRODUCTS:
            await products.add(unit, Product(ids.new(), sku, name, Decimal(price), stock, clock.now()))
