"""The recipe: each value of the guide, and what wins where several ask for something."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from poolbudget.capacity.pooler import pooler_limits
from poolbudget.client import PoolSizesError, engine_options
from poolbudget.planning.inputs import PoolSizes
from poolbudget.recipes.caps import bounds
from poolbudget.recipes.render import recipe_of, rendered, size_keys
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import RECIPE_KEYS, TargetSpec

PG_BOUNCER = {"type": "PgBouncer", "mode": "Transaction"}


def settings(version: int = 0, target: dict[str, Any] | None = None, **endpoint: Any) -> dict[str, str]:
    found = Endpoint.model_validate({"host": "db", **endpoint})
    spec = TargetSpec.model_validate({"name": "api", **(target or {})})
    recipe = recipe_of(found, spec, pooler_limits(found, None, None), version)
    return {item.key: item.value for item in recipe.settings}


@pytest.mark.parametrize(
    ("endpoint", "seconds"),
    [
        ({}, 1800),
        ({"provider": "RDS"}, 1800),
        ({"provider": "RDS", "idleTimeout": "350s"}, 300),
        ({"provider": "Aurora"}, 1800),
        ({"provider": "RDS", "pooler": {"type": "RDSProxy"}}, 900),
        ({"provider": "CloudSQL"}, 300),
        ({"provider": "CloudSQL", "pooler": {"type": "CloudSQLAuthProxy"}}, 300),
        ({"provider": "Azure"}, 300),
        ({"pooler": PG_BOUNCER}, 540),
        ({"pooler": {**PG_BOUNCER, "serverIdleTimeout": "300s"}}, 240),
        # The provider's network is still there behind the pooler.
        ({"provider": "Azure", "pooler": PG_BOUNCER}, 300),
        ({"pooler": {**PG_BOUNCER, "serverIdleTimeout": "24h"}}, 1800),
        # Never under a minute.
        ({"pooler": {**PG_BOUNCER, "serverIdleTimeout": "70s"}}, 60),
        ({"idleTimeout": "30s"}, 60),
    ],
)
def test_recycle(endpoint: dict[str, Any], seconds: int) -> None:
    assert settings(**endpoint)["POOL_RECYCLE"] == str(seconds)


def test_rds_proxy() -> None:
    found = settings(provider="RDS", pooler={"type": "RDSProxy"})
    assert (found["POOL_TIMEOUT"], found["DATABASE_SSL"]) == ("15", "require")
    assert found["STATEMENT_CACHE_SIZE"] == found["PREPARED_STATEMENT_CACHE_SIZE"] == "0"


@pytest.mark.parametrize(
    ("provider", "pooler", "ssl"),
    [
        ("RDS", {"type": "None"}, "require"),
        ("SelfManaged", {"type": "None"}, None),
        # A PgBouncer of one's own speaks no TLS with its clients unless told to.
        ("RDS", PG_BOUNCER, None),
        ("Azure", PG_BOUNCER, "require"),
        ("Neon", PG_BOUNCER, "require"),
        ("RDS", {"type": "RDSProxy"}, "require"),
        ("CloudSQL", {"type": "CloudSQLAuthProxy"}, "disable"),
    ],
)
def test_ssl(provider: str, pooler: dict[str, str], ssl: str | None) -> None:
    assert settings(provider=provider, pooler=pooler).get("DATABASE_SSL") == ssl


def test_a_pooler_that_nobody_mentions_gets_what_works_behind_any() -> None:
    """No settings of the session, which it would refuse, and no caches."""
    recipe = recipe_of(Endpoint(host="db"), TargetSpec(name="api"), None, 150000, has_hidden_pooler=True)
    assert recipe.get("DATABASE_JIT") is None
    assert recipe.get("CLIENT_CONNECTION_CHECK_INTERVAL") is None
    assert recipe.get("STATEMENT_CACHE_SIZE") == "0"


def test_settings_of_the_session_only_where_they_arrive_and_exist() -> None:
    assert settings(150000)["CLIENT_CONNECTION_CHECK_INTERVAL"] == "500ms"
    assert "CLIENT_CONNECTION_CHECK_INTERVAL" not in settings(130000)
    assert "CLIENT_CONNECTION_CHECK_INTERVAL" not in settings(0)
    assert settings()["DATABASE_JIT"] == "off"
    assert "DATABASE_JIT" not in settings(150000, pooler={"type": "PgBouncer", "mode": "Session"})


def test_a_null_pool_gets_no_timeout_and_a_short_command() -> None:
    found = settings(target={"poolClass": "NullPool"})
    assert "POOL_TIMEOUT" not in found
    assert (found["POOL_CLASS"], found["COMMAND_TIMEOUT"]) == ("NullPool", "5")


def test_what_is_overridden_is_marked() -> None:
    target = TargetSpec.model_validate(
        {"name": "api", "configMap": {"overrides": {"POOL_RECYCLE": "600", "COMMAND_TIMEOUT": "30"}}}
    )
    recipe = recipe_of(Endpoint(host="db"), target, None, 0)
    assert recipe.overridden == ("COMMAND_TIMEOUT", "POOL_RECYCLE")
    assert (recipe.get("POOL_RECYCLE"), recipe.get("COMMAND_TIMEOUT")) == ("600", "30")


@pytest.mark.parametrize("name", ["POOL_SIZE", "PRIMARY_MAX_OVERFLOW", "pool.json"])
def test_a_key_of_ones_own_cannot_take_the_place_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match="is written anyhow"):
        TargetSpec.model_validate({"name": "api", "configMap": {"keys": {name: "500"}}})


def test_keys_that_tell_a_size_are_known() -> None:
    target = TargetSpec.model_validate(
        {"name": "api", "configMap": {"formats": ["HikariCP"], "keys": {"A": "{cap}", "B": "{host}"}}}
    )
    recipe = recipe_of(Endpoint(host="db"), target, None, 0)
    assert size_keys(recipe, PoolSizes(7, 3), ("",)) == {
        "A": "10",
        "SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE": "10",
        "SPRING_DATASOURCE_HIKARI_MINIMUM_IDLE": "7",
    }


@pytest.mark.parametrize(
    ("pooler", "maximum"),
    [
        ({"type": "None"}, None),
        ({"type": "RDSProxy"}, 7),
        (PG_BOUNCER, 2),
        ({"type": "PgBouncer", "mode": "Session"}, None),
        ({"type": "Supavisor"}, 2),
    ],
)
def test_small_pools_behind_poolers(pooler: dict[str, Any], maximum: int | None) -> None:
    spec = PoolBudgetSpec.model_validate(
        {
            "endpoint": {"host": "db", "pooler": pooler},
            "capacity": {"maxConnections": 100},
            "targets": [{"name": "api"}, {"name": "other", "maxPerPool": 30}],
        }
    )
    assert bounds(spec, spec.targets[0]).max_per_pool == maximum
    assert bounds(spec, spec.targets[1]).max_per_pool == 30


EVERYTHING = {
    "POOL_TIMEOUT": "1.5",
    "POOL_RECYCLE": "600",
    "POOL_PRE_PING": "true",
    "STATEMENT_CACHE_SIZE": "0",
    "PREPARED_STATEMENT_CACHE_SIZE": "0",
    "UNIQUE_STATEMENT_NAMES": "true",
    "COMMAND_TIMEOUT": "30",
    "DATABASE_SSL": "disable",
    "DATABASE_JIT": "off",
    "CLIENT_CONNECTION_CHECK_INTERVAL": "500ms",
    "DATABASE_HOST": "/cloudsql/x",
}


def everything(pool_class: str = "AsyncAdaptedQueuePool") -> dict[str, str]:
    assert EVERYTHING.keys() == set(RECIPE_KEYS)
    target = TargetSpec.model_validate(
        {"name": "api", "poolClass": pool_class, "configMap": {"overrides": EVERYTHING}}
    )
    recipe = recipe_of(Endpoint(host="db"), target, None, 150000)
    return rendered(recipe, PoolSizes(7, 3), ("PRIMARY_",))


async def test_an_engine_takes_all_of_it() -> None:
    """Every setting there is, under a prefix, as SQLAlchemy and asyncpg name it."""
    options = engine_options("PRIMARY_", everything())
    arguments = options["connect_args"]
    assert (options["pool_size"], options["max_overflow"], options["pool_recycle"]) == (7, 3, 600)
    assert (arguments["ssl"], arguments["statement_cache_size"]) == (False, 0)
    assert arguments["host"] == "/cloudsql/x"
    assert arguments["server_settings"] == {"jit": "off", "client_connection_check_interval": "500ms"}
    names = {arguments["prepared_statement_name_func"]() for _ in range(3)}
    assert len(names) == 3
    engine = create_async_engine("postgresql+asyncpg://h/x", **options)
    assert engine.pool.size() == 7  # type: ignore[attr-defined]
    await engine.dispose()


def test_an_engine_for_threads_gets_libpqs_words() -> None:
    options = engine_options("PRIMARY_", everything("QueuePool"))
    assert options["connect_args"] == {
        "sslmode": "disable",
        "host": "/cloudsql/x",
        "options": "-c jit=off -c client_connection_check_interval=500ms -c statement_timeout=30000ms",
        "prepare_threshold": None,
    }
    engine = create_engine("postgresql+psycopg://h/x", **options)
    assert engine.pool.size() == 7  # type: ignore[attr-defined]
    engine.dispose()
    old = engine_options("PRIMARY_", everything("QueuePool"), driver="psycopg2")
    assert "prepare_threshold" not in old["connect_args"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("POOL_PRE_PING", "True"),
        ("POOL_RECYCLE", "600.0"),
        ("POOL_TIMEOUT", "-1"),
        ("DATABASE_SSL", "yes"),
        ("CLIENT_CONNECTION_CHECK_INTERVAL", "soon"),
    ],
)
def test_an_override_that_would_end_every_pod_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        TargetSpec.model_validate({"name": "api", "configMap": {"overrides": {key: value}}})


def test_for_ever_is_for_ever_elsewhere_too() -> None:
    target = {"configMap": {"formats": ["HikariCP"], "overrides": {"POOL_RECYCLE": "-1"}}}
    recipe = recipe_of(Endpoint(host="db"), TargetSpec.model_validate({"name": "a", **target}), None, 0)
    assert rendered(recipe, PoolSizes(7, 3), ("",))["SPRING_DATASOURCE_HIKARI_MAX_LIFETIME"] == "0"


def test_a_key_of_ones_own_that_ours_replaces_tells_no_size() -> None:
    target = {"configMap": {"keys": {"POOL_TIMEOUT": "{cap}", "PGHOST": "{cap}"}, "formats": ["Libpq"]}}
    recipe = recipe_of(Endpoint(host="db"), TargetSpec.model_validate({"name": "a", **target}), None, 0)
    assert size_keys(recipe, PoolSizes(7, 3), ("",)) == {}


async def test_an_engine_without_a_pool() -> None:
    data = rendered(
        recipe_of(
            Endpoint(host="db"), TargetSpec.model_validate({"name": "a", "poolClass": "NullPool"}), None, 0
        ),
        PoolSizes(7, 3),
        ("",),
    )
    await create_async_engine("postgresql+asyncpg://h/x", **engine_options("", data)).dispose()


@pytest.mark.parametrize(
    "changes",
    [
        {"POOL_CLASS": "StaticPool"},
        {"POOL_RECYCLE": "soon"},
        {"POOL_PRE_PING": "yes"},
        {"UNIQUE_STATEMENT_NAMES": "1"},
        {"POOL_SIZE": "0"},
    ],
)
def test_settings_that_make_no_sense_are_told(changes: dict[str, str]) -> None:
    with pytest.raises(PoolSizesError, match=next(iter(changes))):
        engine_options("", {"POOL_SIZE": "7", "MAX_OVERFLOW": "3", **changes})
