"""Orders of many tenants: writes go to the primary, reads to the replica of this region.

Each worker process makes its own engines, in its own event loop, when it starts. Their settings come from
PoolBudget, by two ConfigMaps with the prefixes PRIMARY_ and REPLICA_, and their pools follow the pod's shares
while they run.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from poolbudget.client import create_async_engine, figures, log_figures, warn_when_busy
from poolbudget.client.metrics import expose

WriteSession = async_sessionmaker(expire_on_commit=False)
ReadSession = async_sessionmaker(expire_on_commit=False)


class Base(DeclarativeBase):
    """All tables."""


class Order(Base):
    """An order of a tenant; amounts in cents."""

    __tablename__ = "orders"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[str] = mapped_column(index=True)
    total_cents: Mapped[int]
    is_paid: Mapped[bool] = mapped_column(default=False)


class NewOrder(BaseModel):
    """What a client sends."""

    tenant_id: str
    total_cents: int


def replica_url() -> URL:
    """The replica of the region that this pod runs in. Raises KeyError for a region that has none."""
    by_region = json.loads(os.environ["REPLICA_DATABASE_URLS"])
    return make_url(by_region[os.environ["AWS_REGION"]])


def make_engine(url: URL, prefix: str) -> AsyncEngine:
    """An engine with the sizes and settings that PoolBudget gives to this pod."""
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), prefix=prefix)
    name = prefix.removesuffix("_").lower()
    expose(engine, name)
    log_figures(engine, name)
    warn_when_busy(engine, name)
    return engine


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Runs in each worker process: its engines begin and end with it."""
    primary = make_engine(make_url(os.environ["PRIMARY_DATABASE_URL"]), "PRIMARY_")
    replica = make_engine(replica_url(), "REPLICA_")
    WriteSession.configure(bind=primary)
    ReadSession.configure(bind=replica)
    print(f"ready: primary {primary.pool.status()}, replica {replica.pool.status()}", flush=True)
    yield
    await primary.dispose()
    await replica.dispose()


app = FastAPI(title="orders", lifespan=lifespan)


@app.post("/orders", status_code=201)
async def create_order(new: NewOrder) -> dict[str, str]:
    """Store an order."""
    async with WriteSession.begin() as session:
        order = Order(tenant_id=new.tenant_id, total_cents=new.total_cents)
        session.add(order)
    return {"id": str(order.id)}


@app.get("/tenants/{tenant_id}/orders")
async def tenant_orders(tenant_id: str) -> list[dict[str, object]]:
    """A tenant's orders, from the replica."""
    async with ReadSession() as session:
        orders = await fetch_tenant_orders(session, tenant_id)
    return [
        {"id": str(order.id), "total_cents": order.total_cents, "is_paid": order.is_paid} for order in orders
    ]


@app.get("/tenants/{tenant_id}/total")
async def tenant_total(tenant_id: str) -> dict[str, int]:
    """What a tenant has ordered for, from the replica."""
    query = select(func.coalesce(func.sum(Order.total_cents), 0)).where(Order.tenant_id == tenant_id)
    async with ReadSession() as session:
        total: int = (await session.execute(query)).scalar_one()
    return {"total_cents": total}


@app.post("/orders/{order_id}/payment")
async def pay(order_id: uuid.UUID) -> dict[str, bool]:
    """Two short transactions, and no connection held while the payment service is asked."""
    async with WriteSession() as session:
        order = await session.get(Order, order_id)
    if order is None:
        raise HTTPException(404, "no such order")
    accepted = await asyncio.to_thread(ask_payment_service, order.total_cents)
    if accepted:
        async with WriteSession.begin() as session:
            paid = await session.get(Order, order_id, with_for_update=True)
            if paid is not None:
                paid.is_paid = True
    return {"paid": accepted}


@app.get("/pools")
async def pools() -> dict[str, dict[str, object]]:
    """How this worker's pools are used."""
    engines = {"primary": WriteSession.kw["bind"], "replica": ReadSession.kw["bind"]}
    return {name: dataclasses.asdict(figures(engine)) for name, engine in engines.items()}


@app.get("/metrics")
async def metrics() -> Response:
    """The same for Prometheus. Each worker process has metrics of its own: who asks meets one of them."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Ready once both databases answer."""
    async with WriteSession() as writing, ReadSession() as reading:
        await writing.execute(text("SELECT 1"))
        await reading.execute(text("SELECT 1"))
    return {"status": "ok"}


async def fetch_tenant_orders(session: AsyncSession, tenant_id: str) -> list[Order]:
    """The connection is checked out by the first statement, and goes back when the session ends."""
    query = select(Order).where(Order.tenant_id == tenant_id).order_by(Order.total_cents)
    return list((await session.execute(query)).scalars())


def ask_payment_service(total_cents: int) -> bool:
    """Outside input and output: may take seconds."""
    body = json.dumps({"total_cents": total_cents}).encode()
    request = urllib.request.Request(os.environ["PAYMENT_URL"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        accepted: bool = json.load(answer)["accepted"]
    return accepted
