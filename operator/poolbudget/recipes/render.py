"""From sizes and settings to a ConfigMap's keys, for SQLAlchemy and for other pools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from poolbudget.capacity.pooler import PoolerLimits
from poolbudget.planning.inputs import PoolSizes
from poolbudget.recipes.recipe import Setting, recipe
from poolbudget.resource.endpoint import Endpoint, Pooler, PoolerMode, PoolerType
from poolbudget.resource.target import TEMPLATE_NAME, KeyFormat, TargetSpec
from poolbudget.tag import budget_part

POOL_SIZE = "POOL_SIZE"
MAX_OVERFLOW = "MAX_OVERFLOW"
JSON = "pool.json"
POOL_BUDGET = "POOL_BUDGET"
POOL_BUDGET_ID = "POOL_BUDGET_ID"
POOL_FORMER_WAIT = "POOL_FORMER_WAIT"

# HikariCP refuses a shorter life than that (com.zaxxer.hikari.HikariConfig, MIN_LIFETIME 30 s).
_HIKARI_SHORTEST_LIFE = 30


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a target's ConfigMap says besides the sizes. `overridden` are keys set by the spec."""

    endpoint: Endpoint
    target: str
    settings: tuple[Setting, ...]
    formats: tuple[KeyFormat, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()
    overridden: tuple[str, ...] = ()

    def get(self, key: str) -> str | None:
        """The value of a setting, None where it is not set."""
        return next((item.value for item in self.settings if item.key == key), None)


def recipe_of(
    endpoint: Endpoint,
    target: TargetSpec,
    pooler: PoolerLimits | None,
    server_version: int,
    has_hidden_pooler: bool = False,
) -> Recipe:
    """The recipe for a target, with what its spec sets against it.

    `has_hidden_pooler`: the probe has met a pooler, whether the endpoint tells of one or not.
    """
    if has_hidden_pooler and endpoint.pooler.type is PoolerType.NONE:
        # What works behind any of them, until somebody says which it is.
        hidden = Pooler(type=PoolerType.PG_BOUNCER, mode=PoolerMode.TRANSACTION)
        endpoint = endpoint.model_copy(update={"pooler": hidden})
        pooler = None
    settings = {item.key: item for item in recipe(endpoint, target.pool_class, pooler, server_version)}
    overrides = target.config_map.overrides
    for key, value in overrides.items():
        settings[key] = Setting(key, value, "set in the PoolBudget")
    return Recipe(
        endpoint,
        target.name,
        tuple(settings.values()),
        tuple(target.config_map.formats),
        tuple(sorted(target.config_map.keys.items())),
        tuple(sorted(overrides)),
    )


def followed(found: Recipe, namespace: str, budget: str) -> Recipe:
    """The recipe for pods that follow their shares: the file in which those stand, and whose they are."""
    settings = [
        Setting(POOL_BUDGET, budget, "the share's file"),
        Setting(POOL_BUDGET_ID, budget_part(f"{namespace}/{budget}"), "what stands in application_name"),
    ]
    if found.endpoint.pooler.shares_connections:
        # There a label outlives whoever has set it, and a killed client leaves nothing behind.
        settings.append(Setting(POOL_FORMER_WAIT, "0", "no connection of a former process is left"))
    return replace(found, settings=(*found.settings, *settings))


def rendered(found: Recipe, sizes: PoolSizes, prefixes: Iterable[str]) -> dict[str, str]:
    """Keys and values of a ConfigMap. With several prefixes each key is there under each."""
    data: dict[str, str] = {}
    ours = {POOL_SIZE: str(sizes.pool_size), MAX_OVERFLOW: str(sizes.max_overflow)}
    ours |= {item.key: item.value for item in found.settings}
    names = _template_names(found, sizes)
    for key, template in found.keys:
        data[key] = TEMPLATE_NAME.sub(lambda match: names[match[1]], template)
    for key_format in found.formats:
        data |= _FORMATS[key_format](found, sizes)
    for prefix in prefixes:
        data |= {f"{prefix}{key}": value for key, value in ours.items()}
        data[f"{prefix}{JSON}"] = json.dumps(ours, separators=(",", ":"))
    return data


def size_keys(found: Recipe, sizes: PoolSizes, prefixes: Sequence[str]) -> dict[str, str]:
    """Of the keys beside ours those that say how large a pool may be, with their values."""
    larger = PoolSizes(sizes.pool_size + 1, sizes.max_overflow + 1)
    now, then = rendered(found, sizes, prefixes), rendered(found, larger, prefixes)
    ours = {f"{prefix}{key}" for prefix in prefixes for key in (POOL_SIZE, MAX_OVERFLOW, JSON)}
    return {key: value for key, value in now.items() if then[key] != value and key not in ours}


def _template_names(found: Recipe, sizes: PoolSizes) -> Mapping[str, str]:
    return {
        "poolSize": str(sizes.pool_size),
        "maxOverflow": str(sizes.max_overflow),
        "cap": str(sizes.cap),
        "poolTimeout": found.get("POOL_TIMEOUT") or "0",
        "poolRecycle": found.get("POOL_RECYCLE") or "0",
        "host": found.get("DATABASE_HOST") or found.endpoint.host,
        "port": str(found.endpoint.port),
        "target": found.target,
    }


def _hikari(found: Recipe, sizes: PoolSizes) -> dict[str, str]:
    """HikariCP by Spring Boot's environment keys; times in milliseconds.

    https://github.com/brettwooldridge/HikariCP#gear-configuration-knobs-baby
    """
    names = _template_names(found, sizes)
    recycle = _number(names["poolRecycle"])
    # 0 is "for ever" there, and -1 here.
    life = max(_HIKARI_SHORTEST_LIFE, recycle) if recycle else 0
    return {
        "SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE": str(sizes.cap),
        "SPRING_DATASOURCE_HIKARI_MINIMUM_IDLE": str(sizes.pool_size),
        "SPRING_DATASOURCE_HIKARI_CONNECTION_TIMEOUT": str(1000 * (_number(names["poolTimeout"]) or 30)),
        "SPRING_DATASOURCE_HIKARI_MAX_LIFETIME": str(1000 * life),
    }


def _libpq(found: Recipe, _: PoolSizes) -> dict[str, str]:
    """Libpq's environment variables (PostgreSQL manual, 34.15), for psql, psycopg and the like."""
    data = {
        "PGAPPNAME": found.target,
        "PGHOST": found.get("DATABASE_HOST") or found.endpoint.host,
        "PGPORT": str(found.endpoint.port),
    }
    ssl = found.get("DATABASE_SSL")
    return data if ssl is None else {**data, "PGSSLMODE": ssl}


def _number(text: str) -> int:
    match = re.match(r"[0-9]+", text)
    return int(match[0]) if match else 0


_FORMATS = {
    KeyFormat.SQLALCHEMY: lambda _, __: {},
    KeyFormat.HIKARI_CP: _hikari,
    KeyFormat.LIBPQ: _libpq,
}
