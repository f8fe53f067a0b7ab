"""The application: `uvicorn bench.peers.fastapi_stack.app:app`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, HTTPException, Query, Request, status
from prometheus_fastapi_instrumentator import Instrumentator
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bench.peers.fastapi_stack.database import Session
from bench.peers.fastapi_stack.logs import log_request
from bench.peers.fastapi_stack.models import AuditEntry, Event, Order, Product, User
from bench.peers.fastapi_stack.schemas import LineIn, LineOut, OrderOut, PageOut, PlaceOrder
from bench.peers.fastapi_stack.security import Buyer, Reader

LIMIT = "1000000/minute"

limiter = Limiter(key_func=get_remote_address)
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
app.middleware("http")(log_request)
Instrumentator().instrument(app).expose(app)


@app.get("/ready")
async def ready(session: Session) -> dict[str, bool]:
    await session.execute(select(1))
    return {"ready": True}


@app.get("/orders/{order_id}")
@limiter.limit(LIMIT)
async def read_order(request: Request, order_id: UUID, session: Session, user: Reader) -> OrderOut:  # noqa: ARG001 - slowapi asks for it
    order = await session.scalar(select(Order).where(Order.id == order_id, Order.user_id == user.id))
    if order is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return OrderOut.model_validate(order)


@app.get("/orders")
@limiter.limit(LIMIT)
async def list_orders(request: Request, session: Session, user: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> PageOut:  # noqa: ARG001 - slowapi asks for it
    newest = select(Order).where(Order.user_id == user.id).order_by(Order.created_at.desc(), Order.id.desc())
    found = (await session.scalars(newest.limit(limit + 1))).all()
    more = found[limit - 1] if len(found) > limit else None
    cursor = f"{more.created_at.isoformat()}_{more.id}" if more else None
    return PageOut(items=[OrderOut.model_validate(order) for order in found[:limit]], next=cursor)


@app.post("/orders", status_code=status.HTTP_201_CREATED)
@limiter.limit(LIMIT)
async def place_order(request: Request, data: PlaceOrder, session: Session, user: Buyer) -> OrderOut:  # noqa: ARG001 - slowapi asks for it
    lines = [line_of(await reserve(session, item), item) for item in data.items]
    total = sum((line.price * line.quantity for line in lines), Decimal(0))
    order = Order(user_id=user.id, status="placed", total=total, lines=[line.model_dump(mode="json") for line in lines])
    session.add(order)
    await session.flush()
    record(session, order, user)
    await session.commit()
    return OrderOut.model_validate(order)


async def reserve(session: AsyncSession, item: LineIn) -> Product:
    product = await session.scalar(select(Product).where(Product.sku == item.sku).with_for_update())
    if product is None or product.stock < item.quantity:
        raise HTTPException(status.HTTP_409_CONFLICT, "Out of stock")
    product.stock -= item.quantity
    return product


def line_of(product: Product, item: LineIn) -> LineOut:
    return LineOut(sku=item.sku, name=product.name, quantity=item.quantity, price=product.price)


def record(session: AsyncSession, order: Order, user: User) -> None:
    """The audit row and the fact, in the order's own transaction."""
    session.add(AuditEntry(actor_id=user.id, action="orders.placed", target=str(order.id)))
    session.add(Event(name="orders.placed", aggregate_id=order.id, payload={"order_id": str(order.id), "total": str(order.total)}))
