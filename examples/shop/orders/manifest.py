"""The table of contents, and the only thing the outside imports to run us."""

from __future__ import annotations

from fortress import Domain, migrations_beside, templates_beside
from shop.orders import handlers, rest
from shop.orders.contract import Orders
from shop.orders.events import OrderCancelled, OrderPlaced, StockLow
from shop.orders.models import Order, Product, Sale
from shop.orders.policy import CANCEL, CHANGE, CLERK, CUSTOMER, PLACE, READ
from shop.orders.repository import OrderRepository, ProductRepository, SaleRepository
from shop.orders.service import OrderRecords, OrderService, look_at_shelves, stock_the_shelves

orders = Domain(
    name="orders",
    door=Orders,
    services=[OrderService, OrderRecords, OrderRepository, ProductRepository, SaleRepository],
    permissions=[READ, PLACE, CANCEL, CHANGE],
    roles=[CUSTOMER, CLERK],
    facts=[OrderPlaced, OrderCancelled, StockLow],
    models=[Order, Product, Sale],
    routes=rest,
    versions=[rest.V1],
    handlers=[handlers, look_at_shelves],
    notifications=[handlers.PLACED, handlers.CANCELLED],
    templates=templates_beside(__name__),
    migrations=migrations_beside(__name__),
    personal=OrderRecords,
    demo=stock_the_shelves,
)
