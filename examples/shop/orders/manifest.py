"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress import Domain, migrations_beside
from shop.orders import rest
from shop.orders.contract import Orders
from shop.orders.events import OrderCancelled, OrderPlaced
from shop.orders.models import Order, Product
from shop.orders.policy import CANCEL, CLERK, CUSTOMER, PLACE, READ
from shop.orders.repository import OrderRepository, ProductRepository
from shop.orders.service import OrderRecords, OrderService, stock_the_shelves

orders = Domain(
    name="orders",
    door=Orders,
    services=[OrderService, OrderRecords, OrderRepository, ProductRepository],
    permissions=[READ, PLACE, CANCEL],
    roles=[CUSTOMER, CLERK],
    facts=[OrderPlaced, OrderCancelled],
    models=[Order, Product],
    routes=rest,
    migrations=migrations_beside(__name__),
    personal=OrderRecords,
    demo=stock_the_shelves,
)
