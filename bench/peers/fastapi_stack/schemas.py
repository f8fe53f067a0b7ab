"""What comes in and goes out, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class LineOut(BaseModel):
    sku: str
    name: str
    quantity: int
    price: Decimal


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    status: str
    total: Decimal
    lines: list[LineOut]
    created_at: datetime
    version: int


class PageOut(BaseModel):
    items: list[OrderOut]
    next: str | None


class LineIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sku: str = Field(max_length=64)
    quantity: int = Field(ge=1, le=1000)


class PlaceOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[LineIn] = Field(min_length=1, max_length=50)
