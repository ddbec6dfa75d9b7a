"""A pool's figures: as values, metrics and log lines, and the warning that it stays used up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from poolbudget import client
from poolbudget.client.metrics import expose
from poolbudget.client.pool import AsyncResizableQueuePool, ResizableQueuePool


class Connection:
    def close(self) -> None:
        pass

    def rollback(self) -> None:
        pass


def engine_with(pool: type[ResizableQueuePool] = ResizableQueuePool) -> Engine:
    made = client.create_engine(
        "postgresql+psycopg://h/x", folder="/nowhere", poolclass=pool, pool_size=2, max_overflow=1
    )
    made.pool._creator = lambda *_: Connection()
    made.pool._invoke_creator = lambda *_: Connection()  # type: ignore[method-assign]
    made.pool.dispatch.connect.clear()  # type: ignore[attr-defined]
    return made


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_figures_of_a_pool() -> None:
    engine = engine_with()
    assert client.figures(engine) == client.Figures(2, 3, 0, 0)
    held = [engine.pool.connect() for _ in range(3)]
    assert client.figures(engine).checked_out == 3
    assert client.figures(engine).overflow == 1
    for connection in held:
        connection.close()
    assert client.figures(engine).overflow == 0


def test_a_stock_pool_tells_what_it_knows_and_a_null_pool_nothing() -> None:
    stock = client.create_engine("postgresql+psycopg://h/x", folder="/nowhere", pool_size=4, max_overflow=2)
    assert client.figures(stock) == client.Figures(4, 6, 0, 0)
    none = client.create_engine("postgresql+psycopg://h/x", folder="/nowhere", poolclass=NullPool)
    with pytest.raises(TypeError, match="NullPool has no size"):
        client.figures(none)


def test_metrics_by_engine() -> None:
    registry, primary, replica = CollectorRegistry(), engine_with(), engine_with()
    expose(primary, "primary", registry)
    expose(replica, "replica", registry)
    held = primary.pool.connect()

    def sample(name: str, engine: str) -> float | None:
        return registry.get_sample_value(f"sqlalchemy_pool_{name}", {"engine": engine})

    assert (sample("checked_out", "primary"), sample("checked_out", "replica")) == (1, 0)
    assert (sample("cap", "primary"), sample("size", "primary"), sample("overflow", "primary")) == (3, 2, 0)
    assert sample("timeouts_total", "primary") == 0
    assert sample("revision", "primary") is None
    primary.pool.resize(5, 0)  # type: ignore[attr-defined]
    assert sample("resizes_total", "primary") == 1
    held.close()


def test_a_log_line_every_so_often(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "poolbudget.client")
    engine = engine_with()
    client.log_figures(engine, "orders", every=0.1)
    until(lambda: len(said(caplog)) >= 2)
    assert "orders: 0 of 2 checked out, cap 3, 0 waiting" in said(caplog)[0]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "poolbudget.client"]


def a_busy_place(engine: Engine) -> list[object]:
    return [engine.pool.connect(), engine.pool.connect()]


def test_who_keeps_the_pool_busy_is_named(caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_with()
    client.warn_when_busy(engine, "orders", seconds=0.3)
    held = a_busy_place(engine)
    until(lambda: bool(said(caplog)))
    [warning] = said(caplog)
    assert "orders: 2 of pool_size 2 checked out for" in warning
    assert f"{Path(__file__).name}:" in warning
    assert "(a_busy_place)" in warning
    for connection in held:
        connection.close()  # type: ignore[attr-defined]


async def an_async_place(engine: AsyncEngine, opened: asyncio.Event) -> None:
    async with engine.connect(), engine.connect():
        opened.set()
        await asyncio.sleep(1)


async def test_also_where_a_task_holds_it(caplog: pytest.LogCaptureFixture) -> None:
    engine = AsyncEngine(engine_for_tasks())
    client.warn_when_busy(engine, "tasks", seconds=0.3)
    await an_async_place(engine, asyncio.Event())
    [warning] = [text for text in said(caplog) if text.startswith("tasks: ")]
    assert "(an_async_place)" in warning


def engine_for_tasks() -> Engine:
    made = client.create_async_engine(
        "postgresql+asyncpg://h/x",
        folder="/nowhere",
        poolclass=AsyncResizableQueuePool,
        pool_size=2,
        max_overflow=1,
    ).sync_engine
    made.pool._invoke_creator = lambda *_: Connection()  # type: ignore[method-assign]
    made.pool.dispatch.connect.clear()  # type: ignore[attr-defined]
    return made
