"""Pods that follow their shares behind PgBouncer: who says what, as its console or the database shows it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.postgres import NoPostgres, PgBouncer, Postgres
from cluster.processes import Workspace
from cluster.versions import NoSuchVersion
from conftest import unavailable
from poolbudget import client
from poolbudget.capacity.child import Probes, Question
from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster.in_place import sight
from poolbudget.planning.inputs import Applied, PodCost
from poolbudget.tag import budget_part

UID = "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0"


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[Postgres]:
    try:
        made = Postgres(workspace, "postgres-followed", {"max_connections": 100})
    except NoPostgres as error:
        unavailable(str(error))
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[False, True], ids=["old", "new"])
def is_new(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture(scope="module", params=["session", "transaction"])
def pooler(workspace: Workspace, server: Postgres, is_new: bool, request: pytest.FixtureRequest) -> PgBouncer:
    settings = {"pool_mode": request.param, "default_pool_size": 10, "max_client_conn": 100}
    try:
        return PgBouncer(workspace, server, settings, f"follow-{is_new}-{request.param}", is_new)
    except NoSuchVersion as error:
        unavailable(str(error))


def share(folder: Path, revision: int, cap: int) -> None:
    new = folder / ".orders"
    new.write_text(json.dumps({"revision": revision, "poolSize": cap, "maxOverflow": 0}))
    new.replace(folder / "orders")


def following(folder: Path, pooler: PgBouncer, mode: str) -> AsyncEngine:
    files = {
        **{"uid": UID, "orders": "", "POOL_BUDGET": "orders", "POOL_SIZE": "1", "MAX_OVERFLOW": "0"},
        **{"POOL_BUDGET_ID": budget_part("shop/orders"), "STATEMENT_CACHE_SIZE": "0"},
        "PREPARED_STATEMENT_CACHE_SIZE": "0",
    }
    if mode == "transaction":
        files["POOL_FORMER_WAIT"] = "0"
    for name, content in files.items():
        (folder / name).write_text(content)
    return client.create_async_engine(
        pooler.url().replace("postgresql:", "postgresql+asyncpg:"), folder=folder
    )


async def test_what_was_applied_is_seen(
    tmp_path: Path, server: Postgres, pooler: PgBouncer, request: pytest.FixtureRequest
) -> None:
    mode = "transaction" if "transaction" in request.node.name else "session"
    engine, probes = following(tmp_path, pooler, mode), Probes()
    question = Question(
        server.url(),
        "127.0.0.1",
        admin_url=pooler.url(database="pgbouncer"),
        tags_only=True,
        by_console=mode == "transaction",
    )

    async def applied() -> Applied:
        answer = await probes.look(question)
        assert answer.tagged is not None, answer.failure
        return sight(Sighting(1.0, answer.tagged), "shop", "orders", (), {}).applied(UID, PodCost(1, 0))

    async def until(revision: int) -> Applied:
        deadline = time.monotonic() + 10
        while (found := await applied()).revision != revision:
            assert time.monotonic() < deadline, found
        return found

    async def work(ends: float) -> None:
        while time.monotonic() < ends:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(0.02)"))

    workers = [asyncio.create_task(work(time.monotonic() + 4)) for _ in range(8)]
    try:
        await until(0)
        for revision, cap in ((5, 6), (6, 2), (7, 4)):
            share(tmp_path, revision, cap)
            found = await until(revision)
            assert found.connections <= max(6, cap)
            assert found.cap in (1, 6, 2, 4)
    finally:
        await asyncio.gather(*workers)
        await engine.dispose()
        await probes.close()
