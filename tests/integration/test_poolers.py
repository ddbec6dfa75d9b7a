"""Engine settings behind PgBouncer, old and new, in both modes: what fails without the recipe."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from cluster.postgres import NoPostgres, PgBouncer, Postgres
from cluster.processes import Workspace
from cluster.versions import NoSuchVersion
from conftest import unavailable
from poolbudget.capacity.admin_console import AdminConsole
from poolbudget.capacity.pooler import pooler_limits
from poolbudget.capacity.probe import DatabaseProbe
from poolbudget.planning.inputs import PoolSizes
from poolbudget.recipes.render import recipe_of, rendered
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.target import TargetSpec

PROCESSES, WORKERS, TIMES = 4, 5, 100
Poolers = dict[tuple[str, str], PgBouncer]
MODES = ("session", "transaction")


@pytest.fixture(scope="module")
def server(workspace: Workspace) -> Iterator[Postgres]:
    """A server of their own: poolers keep connections, which others would be counted as."""
    try:
        made = Postgres(workspace, "postgres-pooled", {"max_connections": 170})
    except NoPostgres as error:
        unavailable(str(error))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def poolers(workspace: Workspace, server: Postgres) -> Poolers:
    """By version and mode: the system's old one, and one from 1.24 on."""
    found = {}
    try:
        for version, is_new in (("old", False), ("new", True)):
            for mode in MODES:
                settings = {"pool_mode": mode, "default_pool_size": 10, "max_client_conn": 400}
                name = f"pgbouncer-{version}-{mode}"
                found[version, mode] = PgBouncer(workspace, server, settings, name, is_new)
    except NoSuchVersion as error:
        unavailable(str(error))
    return found


async def failures(url: str, environment: Mapping[str, str]) -> int:
    """Of 2,000 transactions of four processes those that fail, with the settings of an environment."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cluster.pooler_client", url, str(WORKERS), str(TIMES)),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    answers = await asyncio.gather(*(process.communicate() for process in processes))
    failed = sum(int(answer) for answer, _ in answers)
    caches = {key: value for key, value in environment.items() if "CACHE" in key} or "defaults"
    # For docs/measurements.md, with -s.
    print(f"\nport {url.rsplit(':', 1)[1]}, {caches}: {failed} of {PROCESSES * WORKERS * TIMES} failed")
    return failed


async def config_map(pooler: PgBouncer, mode: str) -> dict[str, str]:
    """The ConfigMap that PoolBudget would write for this pooler."""
    console = AdminConsole(pooler.url(database="pgbouncer"))
    try:
        admin = await console.figures()
    finally:
        await console.close()
    endpoint = Endpoint.model_validate(
        {"host": "127.0.0.1", "port": pooler.port, "pooler": {"type": "PgBouncer", "mode": mode.capitalize()}}
    )
    target = TargetSpec(name="api")
    found = recipe_of(endpoint, target, pooler_limits(endpoint, admin, None), 150000)
    return rendered(found, PoolSizes(2, 1), ("",))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", ["old", "new"])
async def test_the_recipe_never_fails(poolers: Poolers, version: str, mode: str) -> None:
    pooler = poolers[version, mode]
    data = await config_map(pooler, mode)
    assert await failures(pooler.url(), data) == 0
    assert ("STATEMENT_CACHE_SIZE" in data) == (version == "old" and mode == "transaction")


async def test_defaults_fail_behind_an_old_pooler_in_transaction_mode(
    poolers: Poolers,
) -> None:
    """And the settings are not needed where the recipe leaves them out."""
    sizes = {"POOL_SIZE": "2", "MAX_OVERFLOW": "1"}
    half = {**sizes, "PREPARED_STATEMENT_CACHE_SIZE": "0"}
    old = poolers["old", "transaction"].url()
    assert await failures(old, sizes) > 20
    assert await failures(old, half) > 20
    # With asyncpg from 0.31 on its own cache alone is what matters.
    assert await failures(old, {**sizes, "STATEMENT_CACHE_SIZE": "0"}) == 0
    for pooler in (("old", "session"), ("new", "session"), ("new", "transaction")):
        assert await failures(poolers[pooler].url(), sizes) == 0


@pytest.mark.parametrize("setting", ["jit", "client_connection_check_interval"])
async def test_no_pooler_takes_settings_of_the_session_at_the_start(poolers: Poolers, setting: str) -> None:
    """Which is why the recipe leaves them out behind one."""
    value = {"jit": "off", "client_connection_check_interval": "500ms"}[setting]
    for pooler in poolers.values():
        engine = create_async_engine(
            pooler.url().replace("postgresql://", "postgresql+asyncpg://"),
            connect_args={"server_settings": {setting: value}},
        )
        with pytest.raises(Exception, match="unsupported startup parameter"):
            async with engine.connect():
                pass
        await engine.dispose()


@pytest.mark.parametrize("version", ["old", "new"])
async def test_a_pooler_in_front_is_recognised(poolers: Poolers, server: Postgres, version: str) -> None:
    for mode in MODES:
        probe = DatabaseProbe(f"{poolers[version, mode].url()}?sslmode=disable")
        report = await probe.look()
        await probe.close()
        assert (report.limits.has_pooler, report.limits.max_connections) == (True, 170)
    direct = DatabaseProbe(server.url())
    assert not (await direct.look()).limits.has_pooler
    await direct.close()


@pytest.mark.parametrize("version", ["old", "new"])
async def test_the_admin_console_tells_its_limits_and_clients(poolers: Poolers, version: str) -> None:
    pooler = poolers[version, "session"]
    engine = create_async_engine(
        pooler.url().replace("postgresql://", "postgresql+asyncpg://"),
        connect_args={"server_settings": {"application_name": "orders"}},
    )
    console = AdminConsole(pooler.url(database="pgbouncer"))
    async with engine.connect():
        figures = await console.figures()
    await console.close()
    await engine.dispose()
    assert (figures.max_client_conn, figures.default_pool_size, figures.pool_mode) == (400, 10, "session")
    assert [(row.application, row.connections) for row in figures.clients] == [("orders", 1)]
    assert figures.version.startswith("1.")
    assert (figures.max_prepared_statements > 0) == (version == "new")
