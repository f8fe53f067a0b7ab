"""Parse, ask the service, render. A route without `allow` and `limit` does not type-check, and does not start."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from fortress import NotFound
from fortress.data import Expected, Page
from fortress.http import PUBLIC, Created, Input, Lines, Listing, Past, Patch, Results, each, get, patch, per_minute, post
from fortress.security import Principal
from shop.orders.contract import NotCancellable, NotChangeable, OutOfStock
from shop.orders.models import Order, OrderStatus, Product
from shop.orders.policy import CANCEL, CHANGE, PLACE, READ
from shop.orders.service import OrderService

# Lines of text: no other control characters, and nothing that changes the order in which it is read.
_TEXT: Final = r"^[^\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
Note = Annotated[str, Field(min_length=1, max_length=500, pattern=_TEXT)]


class Item(Input):
    """So many of one product."""

    sku: Annotated[str, Field(min_length=1, max_length=40, examples=["TEA-GREEN"])]
    quantity: Annotated[int, Field(ge=1, le=1000, examples=[2])]


class PlaceOrder(Input):
    """A basket; the same product may stand in it more than once. The note is for those who pack it."""

    items: Annotated[list[Item], Field(min_length=1, max_length=50)]
    note: Note | None = None

    def wanted(self) -> dict[str, int]:
        """How many of each SKU."""
        counted: Counter[str] = Counter()
        for item in self.items:
            counted[item.sku] += item.quantity
        return dict(counted)


class ChangeOrder(Patch):
    """What may be changed of an order; null takes the note away, and what is left out stays."""

    note: Note | None = None


class Money(msgspec.Struct, frozen=True):
    """An amount of a currency (ISO 4217)."""

    amount: Decimal
    currency: str


class ProductView(msgspec.Struct, frozen=True):
    """A product; the price says its currency."""

    id: UUID
    sku: str
    name: str
    price: Money
    in_stock: bool


class ProductViewV1(msgspec.Struct, frozen=True):
    """A product as v1 shows it: the price as a decimal."""

    id: UUID
    sku: str
    name: str
    price: Decimal
    in_stock: bool


def product_in_v1(product: ProductView) -> ProductViewV1:
    """As v1 shows it: the amount, which was always in euros."""
    return ProductViewV1(product.id, product.sku, product.name, product.price.amount, product.in_stock)


V1: Final = Past(1, deprecated=date(2026, 11, 1), sunset=date(2027, 11, 1), answers=[product_in_v1])


class ProductQuery(Listing):
    """Products in another order."""

    sort: Literal["name", "-name", "price", "-price", "created_at", "-created_at"] | None = None


class OrderQuery(Listing):
    """Orders of one status, or the oldest first."""

    status: OrderStatus | None = None
    sort: Literal["created_at", "-created_at"] | None = None


@get("/products", allow=PUBLIC, limit=per_minute(600), etag=True)
async def list_products(query: ProductQuery, orders: OrderService, principal: Principal) -> Page[ProductView]:
    """List the products, newest first unless another order is asked for."""
    page = await orders.on_sale(query.page(), principal)
    return Page([_shown(product) for product in page.items], page.next)


@post("/orders", allow=PLACE, limit=per_minute(60), idempotent=True, errors=[OutOfStock])
async def place_order(data: PlaceOrder, orders: OrderService, principal: Principal) -> Created[Order]:
    """Place an order."""
    order = await orders.place(data.wanted(), principal, data.note)
    return Created(order, at=f"/orders/{order.id}")


@get("/orders/{order_id:uuid}", allow=READ, limit=per_minute(600))
async def read_order(order_id: UUID, orders: OrderService, principal: Principal) -> Order:
    """Read an order."""
    return await orders.read(order_id, principal)


@get("/orders", allow=READ, limit=per_minute(300), sparse=True)
async def list_orders(query: OrderQuery, orders: OrderService, principal: Principal) -> Page[Order]:
    """List orders, newest first unless another order is asked for."""
    return await orders.recent(query.page(), principal)


@get("/orders/export", allow=READ, limit=per_minute(6))
async def export_orders(orders: OrderService, principal: Principal) -> Lines[Order]:
    """Export every order, newest first, one on a line."""
    return Lines(orders.every(principal))


@patch(
    "/orders/{order_id:uuid}",
    allow=CHANGE,
    limit=per_minute(60),
    errors=[NotChangeable],
)
async def change_order(order_id: UUID, data: ChangeOrder, expected: Expected, orders: OrderService, principal: Principal) -> Order:
    """Change the note of an order that is not shipped."""
    return await orders.change(order_id, data.onto, principal, expected)


@post("/orders/{order_id:uuid}/cancellation", allow=CANCEL, limit=per_minute(60), errors=[NotFound, NotCancellable])
async def cancel_order(order_id: UUID, expected: Expected, orders: OrderService, principal: Principal) -> Order:
    """Cancel an order that is not shipped."""
    return await orders.cancel(order_id, principal, expected)


class CancelOrders(Input):
    """The orders to cancel."""

    order_ids: Annotated[list[UUID], Field(min_length=1, max_length=50)]


@post("/orders/cancellations", allow=CANCEL, limit=per_minute(10))
async def cancel_orders(data: CancelOrders, orders: OrderService, principal: Principal) -> Results[Order]:
    """Cancel several orders; each that can't be is told of by itself."""
    return await each(data.order_ids, lambda order: orders.cancel(order, principal))


def _shown(product: Product) -> ProductView:
    return ProductView(product.id, product.sku, product.name, Money(product.price, "EUR"), product.stock > 0)
