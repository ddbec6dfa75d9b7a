"""`spec` of a PoolBudget. Every field's description becomes the schema's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from poolbudget.planning.inputs import ReserveFor, TargetBounds, TargetKey, UpdateMode
from poolbudget.resource.quantities import Duration, duration_rule

MAX_TARGETS = 64
_NAME_LENGTH = 253
MAX_CONNECTIONS = 262_143  # PostgreSQL's own upper limit of max_connections (MAX_BACKENDS)

Connections = Annotated[int, Field(ge=1, le=MAX_CONNECTIONS)]
_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"  # RFC 1123 subdomain, as Kubernetes' names

Name = Annotated[str, Field(min_length=1, max_length=_NAME_LENGTH, pattern=_NAME_PATTERN)]
SecretKey = Annotated[str, Field(min_length=1, max_length=_NAME_LENGTH, pattern=r"^[-._a-zA-Z0-9]+$")]


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """CEL rules of a model, for the schema."""
    return {"x-kubernetes-validations": list(items)}


class Model(BaseModel):
    """Camel case outside, frozen; a field of a later version is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Endpoint(Model):
    """The database, or the pooler in front of it, that the targets connect to."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.host.matches('^[A-Za-z0-9._:-]+$') && !self.host.contains('://')",
                "message": "host is a name or an address only, such as orders.example.internal: "
                "no scheme, no path; the port has a field of its own",
            }
        )
    )

    host: Annotated[str, Field(min_length=1, max_length=_NAME_LENGTH)] = Field(
        description="Host name or address that the targets connect to."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=5432, description="Port that the targets connect to."
    )


class SecretKeyRef(Model):
    """A key of a Secret in the PoolBudget's namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: SecretKey = Field(default="url", description="Key within the Secret.")


class Probe(Model):
    """Asks the database itself, over one connection that the operator keeps open."""

    model_config = ConfigDict(json_schema_extra=rules(duration_rule("interval", "5s", "1h")))

    url_secret_key_ref: SecretKeyRef = Field(
        description="Where the URL to connect with stands, such as "
        "postgresql://monitor:password@host:5432/orders?sslmode=require. Any role that may connect "
        "will do; the Secret is read only because it is named here."
    )
    interval: Duration = Field(
        default="60s", description="Time between two looks at the database, from 5s to 1h."
    )


class Capacity(Model):
    """How many connections the endpoint accepts: what the probe says, else maxConnections."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "has(self.probe) || has(self.maxConnections)",
                "message": "capacity needs a source: set probe, maxConnections, or both",
            }
        )
    )

    probe: Probe | None = Field(default=None, description="Ask the database itself.")
    max_connections: Connections | None = Field(
        default=None,
        description="max_connections of the server, used where no probe is given or until it has "
        "answered for the first time.",
    )


class Reserved(Model):
    """Connections that the targets never get, on top of what the server reserves itself."""

    admin: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        default=10, description="For administrators, migrations and monitoring."
    )
    replication: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        default=0,
        description="For replication over ordinary connections. Streaming replicas of PostgreSQL 12 "
        "and later take none.",
    )
    percent: Annotated[int, Field(ge=0, le=90)] = Field(
        default=0, description="Safety margin in percent of max_connections, rounded up."
    )


class ConfigMapTarget(Model):
    """The ConfigMap that a target's pods read."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "!has(self.keyPrefix) || self.keyPrefix.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
                "message": "keyPrefix becomes part of an environment variable's name: letters, digits "
                "and underscores, not beginning with a digit, such as PRIMARY_",
            }
        )
    )

    name: Name | None = Field(
        default=None, description="Name of the ConfigMap; by default the target's name and `-pool`."
    )
    key_prefix: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="Put before each key, such as PRIMARY_ for PRIMARY_POOL_SIZE."
    )


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
        description="Off: only says what it would do. Initial: sizes are read at container start.",
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
        )

    @property
    def config_map_name(self) -> str:
        """Name of the ConfigMap, given or by default."""
        return self.config_map.name or f"{self.name}-pool"


class PoolBudgetSpec(Model):
    """What an administrator asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.targets.all(t, self.targets.exists_one(u, "
                "(has(t.configMap) && has(t.configMap.name) ? t.configMap.name : t.name + '-pool') == "
                "(has(u.configMap) && has(u.configMap.name) ? u.configMap.name : u.name + '-pool')))",
                "message": "two targets would write the same ConfigMap: give one of them a "
                "configMap.name of its own",
            }
        )
    )

    endpoint: Endpoint = Field(description="What the targets connect to.")
    capacity: Capacity = Field(description="How many connections the endpoint accepts.")
    reserved: Reserved = Field(default=Reserved(), description="Connections that the targets never get.")
    reserve_for: ReserveFor = Field(
        default=ReserveFor.NEXT_STEP,
        description="Pods to keep room for before they exist. CurrentPods: none. NextStep: what one "
        "step of the HorizontalPodAutoscaler may add. MaxReplicas: as many as it may ever ask for.",
    )
    pool_size_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=70, description="Part of a pod's share that becomes pool_size; the rest is max_overflow."
    )
    deletion_policy: Annotated[str, Field(json_schema_extra={"enum": ["Retain", "Delete"]})] = Field(
        default="Retain",
        description="What happens to the ConfigMaps when the PoolBudget goes. Retain keeps them, so that "
        "restarting containers still find their sizes.",
    )
    targets: Annotated[list[TargetSpec], Field(min_length=1, max_length=MAX_TARGETS)] = Field(
        description="The workloads that share the connections.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["kind", "name"],
        },
    )
