"""Every question this domain asks of its tables, compiled once. Nothing here can commit."""

from __future__ import annotations

from sqlalchemy import BigInteger, column, func

from fortress.cache import cached
from fortress.data import Repository, change, many, one, page, param, select, update
from shop.orders.models import Order, OrderStatus, Product, Sale

_skus, _quantities = param("skus", list[str]), param("quantities", list[int])
_wanted = func.unnest(_skus, _quantities).table_valued("sku", column("quantity", BigInteger), name="wanted").render_derived()
# Rows are locked in the order of their SKU, so that two baskets with the same products can't wait for each other.
_locked = (
    select(Product.c.id, _wanted.c.quantity)
    .join_from(Product.table, _wanted, Product.c.sku == _wanted.c.sku)
    .order_by(Product.c.sku)
    .with_for_update(of=Product.table)
    .cte("locked")
)


class ProductRepository(Repository[Product]):
    """What there is to buy."""

    on_sale = cached(page(select(Product), newest_first=Product.c.created_at, sorts=[Product.c.name, Product.c.price]), seconds=30)
    of_skus = many(select(Product).where(Product.c.sku == func.any(param("skus", list[str]))))
    take = change(
        update(Product)
        .where(Product.c.id == _locked.c.id, Product.c.stock >= _locked.c.quantity)
        .values(stock=Product.c.stock - _locked.c.quantity)
        .returning(*Product.table.c)
    )
    put_back = change(
        update(Product).where(Product.c.id == _locked.c.id).values(stock=Product.c.stock + _locked.c.quantity).returning(*Product.table.c)
    )


class OrderRepository(Repository[Order]):
    """What people bought."""

    by_id = one(select(Order).where(Order.c.id == param("id")))
    recent = page(select(Order), newest_first=Order.c.created_at, filters=[Order.c.status])
    of_person = many(select(Order).where(Order.c.user_id == param("person")).order_by(Order.c.created_at), limit=10_000)
    forget_notes = change(
        update(Order).where(Order.c.user_id == param("person"), Order.c.note.is_not(None)).values(note=None, version=Order.c.version + 1)
    )
    unpaid_before = many(
        select(Order).where(Order.c.status == OrderStatus.PLACED, Order.c.created_at < param("moment")).order_by(Order.c.created_at),
        limit=500,
    )
    placed_by = many(select(Order).where(Order.c.user_id == param("person"), Order.c.status == OrderStatus.PLACED))


class SaleRepository(Repository[Sale]):
    """What was sold."""

    since = many(select(Sale).where(Sale.c.sold_at >= param("moment")).order_by(Sale.c.sold_at), limit=10_000)
