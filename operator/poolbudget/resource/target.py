"""`spec.targets`: the workloads that share the connections, and what they read."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator

from poolbudget.planning.inputs import TargetBounds, TargetKey, UpdateMode
from poolbudget.resource.model import MAX_CONNECTIONS, Connections, Model, Name, rules

_VALUES = {
    "POOL_TIMEOUT": r"[0-9]{1,9}(\.[0-9]{1,3})?",
    "POOL_RECYCLE": r"-1|[0-9]{1,9}",
    "POOL_PRE_PING": r"true|false",
    "STATEMENT_CACHE_SIZE": r"[0-9]{1,9}",
    "PREPARED_STATEMENT_CACHE_SIZE": r"[0-9]{1,9}",
    "UNIQUE_STATEMENT_NAMES": r"true|false",
    "COMMAND_TIMEOUT": r"[0-9]{1,9}(\.[0-9]{1,3})?",
    "DATABASE_SSL": r"disable|allow|prefer|require|verify-ca|verify-full",
    "DATABASE_JIT": r"on|off",
    "CLIENT_CONNECTION_CHECK_INTERVAL": r"[0-9]{1,9}(ms|s|min|h)?",
    "DATABASE_HOST": r"[A-Za-z0-9._:/-]{1,253}",
}
RECIPE_KEYS = tuple(_VALUES)
"""Engine settings that a spec may set against the recipe, as a ConfigMap spells them."""

TEMPLATE_NAME = re.compile(r"\{([A-Za-z]+)\}")
_TEMPLATE_NAMES = ("poolSize", "maxOverflow", "cap", "poolTimeout", "poolRecycle", "host", "port", "target")

_SIZES = re.compile(r"(^|_)(POOL_SIZE|MAX_OVERFLOW|pool\.json)$")

_KEY = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
_MAX_KEYS = 64


class PoolClass(StrEnum):
    """SQLAlchemy's pools (sqlalchemy.pool)."""

    ASYNC_ADAPTED_QUEUE_POOL = "AsyncAdaptedQueuePool"
    QUEUE_POOL = "QueuePool"
    NULL_POOL = "NullPool"


class KeyFormat(StrEnum):
    """Whose environment keys a ConfigMap has."""

    SQLALCHEMY = "SQLAlchemy"
    HIKARI_CP = "HikariCP"
    LIBPQ = "Libpq"


class ConfigMapTarget(Model):
    """The ConfigMap that a target's pods read."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "!has(self.keyPrefix) || self.keyPrefix.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
                "message": "keyPrefix becomes part of an environment variable's name: letters, digits "
                "and underscores, not beginning with a digit, such as PRIMARY_",
            },
            {
                "rule": "!has(self.overrides) || !('POOL_SIZE' in self.overrides || "
                "'MAX_OVERFLOW' in self.overrides || 'POOL_CLASS' in self.overrides)",
                "message": "sizes are the budget's: bound them by minPerPool and maxPerPool; the pool's "
                "class is the target's poolClass",
            },
        )
    )

    name: Name | None = Field(
        default=None, description="Name of the ConfigMap; by default the target's name and `-pool`."
    )
    key_prefix: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="Put before each key, such as PRIMARY_ for PRIMARY_POOL_SIZE."
    )
    formats: Annotated[list[KeyFormat], Field(max_length=8)] = Field(
        default=[],
        description="Keys for other pools as well. HikariCP: SPRING_DATASOURCE_HIKARI_*; Libpq: PGAPPNAME "
        "and its like.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    keys: Annotated[dict[_KEY, Annotated[str, Field(max_length=1000)]], Field(max_length=_MAX_KEYS)] = Field(
        default={},
        description="Keys of your own, with {poolSize}, {maxOverflow}, {cap}, {poolTimeout}, {poolRecycle}, "
        "{host}, {port} and {target} filled in, such as RAILS_MAX_THREADS: '{cap}'.",
    )
    overrides: Annotated[dict[_KEY, Annotated[str, Field(max_length=1000)]], Field(max_length=_MAX_KEYS)] = (
        Field(
            default={},
            description="Engine settings that are to differ from the recipe, by key without keyPrefix, such "
            "as POOL_RECYCLE: '600'. Sizes are bounded by minPerPool and maxPerPool instead.",
        )
    )

    @field_validator("keys")
    @classmethod
    def _known_names(cls, keys: dict[str, str]) -> dict[str, str]:
        for key, template in keys.items():
            if _SIZES.search(key):
                raise ValueError(f"{key} is written anyhow: give a key of your own another name")
            for name in TEMPLATE_NAME.findall(template):
                if name not in _TEMPLATE_NAMES:
                    known = ", ".join(f"{{{item}}}" for item in _TEMPLATE_NAMES)
                    raise ValueError(f"{key}: {{{name}}} is not one of {known}")
        return keys

    @field_validator("overrides")
    @classmethod
    def _known_settings(cls, overrides: dict[str, str]) -> dict[str, str]:
        for key, value in overrides.items():
            if key not in RECIPE_KEYS:
                raise ValueError(
                    f"{key} is no engine setting of ours: one of {', '.join(RECIPE_KEYS)}; put keys of your "
                    "own into configMap.keys"
                )
            if not re.fullmatch(_VALUES[key], value):
                raise ValueError(f"{key}: {value!r} makes no sense")
        return overrides


class TargetSpec(Model):
    """A workload whose pods open connections to the endpoint."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "!has(self.minPerPool) || !has(self.maxPerPool) "
                "|| self.minPerPool <= self.maxPerPool",
                "message": "minPerPool must not exceed maxPerPool",
            },
            {
                "rule": "self.updateMode != 'InPlace' || self.poolClass != 'NullPool'",
                "message": "a NullPool has no size that could change in place: choose another poolClass",
            },
            {
                "rule": "self.name.size() <= 248 || (has(self.configMap) && has(self.configMap.name))",
                "message": "a name of more than 248 characters leaves no room for `-pool`: give the target "
                "a configMap.name",
            },
        )
    )

    kind: Annotated[str, Field(json_schema_extra={"enum": ["Deployment", "StatefulSet"]})] = Field(
        default="Deployment", description="Deployment or StatefulSet."
    )
    name: Name = Field(description="Name of the workload, in the PoolBudget's namespace.")
    workers: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Processes per pod that have pools of their own (gunicorn, uvicorn): the most "
        "that are alive at once. It cannot be found out from outside.",
    )
    pools_per_worker: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Engines on this endpoint in each process."
    )
    extra_connections: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        default=0, description="Connections per pod outside any pool, such as LISTEN."
    )
    min_per_pool: Connections | None = Field(
        default=None,
        description="Floor: the least pool_size + max_overflow a pod is ever given (1 when unset). When "
        "set, it is also published while the capacity is still unknown.",
    )
    max_per_pool: Connections | None = Field(
        default=None, description="The most pool_size + max_overflow a pod is given."
    )
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Share of each of this target's pods, relative to the others'."
    )
    update_mode: UpdateMode = Field(
        default=UpdateMode.INITIAL,
        description="Off: only says what it would do. Initial: sizes are read at container start. InPlace: "
        "each pod follows a share of its own while it runs, by the client library and a volume "
        "(docs/applications.md).",
    )
    start_per_pool: Connections = Field(
        default=1,
        description="InPlace only: pool_size + max_overflow that a container starts with, for the moment "
        "before its pod is told a share.",
    )
    pool_class: PoolClass = Field(
        default=PoolClass.ASYNC_ADAPTED_QUEUE_POOL,
        description="SQLAlchemy's pool: AsyncAdaptedQueuePool for asyncio, QueuePool for threads. NullPool "
        "has no limit at all: what its pods open is not bounded by this PoolBudget.",
    )
    config_map: ConfigMapTarget = Field(
        default=ConfigMapTarget(), description="The ConfigMap that the pods read."
    )

    @property
    def key(self) -> TargetKey:
        """The workload."""
        return TargetKey(self.kind, self.name)

    @property
    def bounds(self) -> TargetBounds:
        """What the planner is told of the target."""
        return TargetBounds(
            workers=self.workers,
            pools_per_worker=self.pools_per_worker,
            extra_connections=self.extra_connections,
            min_per_pool=self.min_per_pool,
            max_per_pool=self.max_per_pool,
            weight=self.weight,
            start_per_pool=self.start_per_pool,
        )

    @property
    def config_map_name(self) -> str:
        """Name of the ConfigMap, given or by default."""
        return self.config_map.name or f"{self.name}-pool"
