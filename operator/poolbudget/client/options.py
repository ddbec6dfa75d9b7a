"""Everything that a ConfigMap says of an engine, as arguments for SQLAlchemy."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import pool
from sqlalchemy.engine import URL

from poolbudget.client.environment import PoolSizesError, pool_sizes

_POOLS = {
    "AsyncAdaptedQueuePool": pool.AsyncAdaptedQueuePool,
    "QueuePool": pool.QueuePool,
    "NullPool": pool.NullPool,
}
_SESSION: dict[str, tuple[str, Callable[[str], Any]]] = {
    "DATABASE_JIT": ("jit", str),
    "CLIENT_CONNECTION_CHECK_INTERVAL": ("client_connection_check_interval", str),
}


def engine_options(
    prefix: str = "", environment: Mapping[str, str] | None = None, driver: str | None = None
) -> dict[str, Any]:
    """Arguments for `create_async_engine` or `create_engine`: sizes, and the recipe's settings.

        engine = create_async_engine(url, **engine_options())

    `prefix` is the target's `configMap.keyPrefix`. `driver` is asyncpg, psycopg or psycopg2; by default
    asyncpg, and psycopg where POOL_CLASS is QueuePool, which no async engine takes. What the environment
    does not say stays SQLAlchemy's default; a NullPool gets no sizes, which it refuses.

    Raises PoolSizesError for sizes that are missing, and for values that make no sense.
    """
    values = os.environ if environment is None else environment
    options: dict[str, Any] = {}
    pool_class = values.get(f"{prefix}POOL_CLASS")
    if pool_class is not None:
        options["poolclass"] = _known(f"{prefix}POOL_CLASS", pool_class, _POOLS)
    if pool_class != "NullPool":
        options |= pool_sizes(prefix, values)
        options |= _converted(values, prefix, {"POOL_TIMEOUT": ("pool_timeout", float)})
    options |= _converted(
        values, prefix, {"POOL_RECYCLE": ("pool_recycle", int), "POOL_PRE_PING": ("pool_pre_ping", _truth)}
    )
    driver = driver or ("psycopg" if pool_class == "QueuePool" else "asyncpg")
    arguments = _known("driver", driver, _DRIVERS)(values, prefix)
    return {**options, "connect_args": arguments} if arguments else options


def _asyncpg(values: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """What asyncpg is told at each connect (asyncpg.connect, sqlalchemy.dialects.postgresql.asyncpg)."""
    arguments = _converted(
        values,
        prefix,
        {
            "STATEMENT_CACHE_SIZE": ("statement_cache_size", int),
            "PREPARED_STATEMENT_CACHE_SIZE": ("prepared_statement_cache_size", int),
            "COMMAND_TIMEOUT": ("command_timeout", float),
            "DATABASE_SSL": ("ssl", str),
            "DATABASE_HOST": ("host", str),
            "UNIQUE_STATEMENT_NAMES": ("prepared_statement_name_func", _truth),
        },
    )
    if arguments.get("ssl") == "disable":
        arguments["ssl"] = False
    if arguments.pop("prepared_statement_name_func", False):
        arguments["prepared_statement_name_func"] = lambda: f"__asyncpg_{uuid.uuid4()}__"
    server = _converted(values, prefix, _SESSION)
    return {**arguments, "server_settings": server} if server else arguments


def _psycopg2(values: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The same in libpq's words (PostgreSQL manual, 34.1.2)."""
    arguments = _converted(values, prefix, {"DATABASE_SSL": ("sslmode", str), "DATABASE_HOST": ("host", str)})
    session = _converted(values, prefix, _SESSION)
    timeout = _converted(values, prefix, {"COMMAND_TIMEOUT": ("seconds", float)}).get("seconds")
    if timeout is not None:
        session["statement_timeout"] = f"{round(1000 * timeout)}ms"
    if session:
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in session.items())
    return arguments


def _psycopg(values: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """As psycopg2, and no prepared statements where those of asyncpg are off, too."""
    arguments = _psycopg2(values, prefix)
    if values.get(f"{prefix}STATEMENT_CACHE_SIZE") == "0":
        arguments["prepare_threshold"] = None
    return arguments


def _converted(
    values: Mapping[str, str], prefix: str, names: Mapping[str, tuple[str, Callable[[str], Any]]]
) -> dict[str, Any]:
    """Those of the keys that are set, under SQLAlchemy's and asyncpg's names."""
    found: dict[str, Any] = {}
    for key, (name, convert) in names.items():
        text = values.get(f"{prefix}{key}")
        if text is None:
            continue
        try:
            found[name] = convert(text)
        except ValueError:
            raise PoolSizesError(f"{prefix}{key} makes no sense: {text!r}") from None
    return found


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _known(name: str, text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise PoolSizesError(f"{name} must be one of {', '.join(known)}, not {text!r}")
    return known[text]


_DRIVERS = {"asyncpg": _asyncpg, "psycopg": _psycopg, "psycopg2": _psycopg2}

SIZES = frozenset({"pool_size", "max_overflow", "poolclass", "pool"})
"""Arguments by which an application decides on its pool itself."""


def driver_of(url: URL) -> str:
    """The driver's name as `engine_options` takes it; psycopg's for one that it does not know."""
    name = url.get_driver_name().removesuffix("_async")
    return name if name in _DRIVERS else "psycopg"


def merged(options: dict[str, Any], overrides: Mapping[str, Any], url: URL) -> dict[str, Any]:
    """Arguments for SQLAlchemy: PoolBudget's, and over them what the application and its URL say."""
    options = _without_sizes(dict(options), overrides)
    arguments = dict(options.pop("connect_args", {}))
    if driver_of(url) != url.get_driver_name().removesuffix("_async"):
        arguments = {}
    _let_url_win(arguments, url)
    given = dict(overrides.get("connect_args") or {})
    if "server_settings" in arguments and "server_settings" in given:
        given["server_settings"] = {**arguments["server_settings"], **given["server_settings"]}
    if "options" in arguments and "options" in given:
        given["options"] = f"{arguments['options']} {given['options']}"
    found = {**options, **overrides}
    if arguments or given:
        found["connect_args"] = {**arguments, **given}
    return found


def _without_sizes(options: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What is left where the application decides on its pool itself."""
    unwanted: set[str] = set()
    if SIZES & overrides.keys():
        unwanted |= {"pool_size", "max_overflow", "poolclass"}
    if not issubclass(overrides.get("poolclass", pool.QueuePool), pool.QueuePool):
        unwanted.add("pool_timeout")
    if "pool" in overrides:
        unwanted |= {name for name in options if name.startswith("pool")}
    return {name: value for name, value in options.items() if name not in unwanted}


def _let_url_win(arguments: dict[str, Any], url: URL) -> None:
    """What the application's URL says of the connection counts, of `options` each for itself."""
    if "ssl" in url.query or "sslmode" in url.query:
        arguments.pop("ssl", None)
        arguments.pop("sslmode", None)
    for name in url.query:
        if name != "options":
            arguments.pop(name, None)
    if "options" in arguments and "options" in url.query:
        arguments["options"] = f"{arguments['options']} {url.query['options']}"
