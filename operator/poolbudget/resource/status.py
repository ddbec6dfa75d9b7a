"""`status` of a PoolBudget, for the schema and for reading back what was last known."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from poolbudget.resource.model import MAX_CONNECTIONS, MAX_TARGETS, Model, list_map


class ConditionStatus(Model):
    """A metav1.Condition."""

    type: Annotated[str, Field(max_length=316)] = Field(description="Which question it answers.")
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})] = Field(
        description="True is what an administrator wants to see."
    )
    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that it was judged for."
    )
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        description="When the status last changed."
    )
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="The reason in one CamelCase word; docs/conditions.md lists them."
    )
    message: Annotated[str, Field(max_length=32768)] = Field(
        description="The reason in a sentence, with what to do."
    )


_Count = Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)]
_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class EstimateStatus(Model):
    """What the provider's documents say of the server's size."""

    connections: _Count = Field(description="max_connections by the provider's rule.")
    uncertainty_percent: int = Field(description="How far a real server may be below that.")
    rule: str = Field(description="The rule, its source and date.")


class PoolerStatus(Model):
    """Both sides of the pooler, all replicas together."""

    client_connections: _Count | None = Field(default=None, description="Client connections that it accepts.")
    server_connections: _Count | None = Field(
        default=None, description="Connections that it may open on the database."
    )
    replicas: int = Field(default=1, description="Poolers behind the endpoint.")
    mode: str | None = Field(default=None, description="Session or Transaction.")
    keeps_prepared: bool | None = Field(
        default=None, description="Whether prepared statements outlive a transaction."
    )
    server_idle_timeout: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Seconds after which it drops idle server connections; 0 for never."
    )
    session_connections: _Count | None = Field(
        default=None, description="Of the server connections those for one user and database."
    )
    version: str | None = Field(default=None, description="PgBouncer's version.")
    source: str = Field(description="AdminConsole, or Declared.")


class CapacityStatus(Model):
    """What the endpoint accepts, and who said so."""

    connections: _Count | None = Field(
        default=None,
        description="Connections that the endpoint accepts: max_connections, a lower limit of the role or "
        "the database, or the pooler's clients.",
    )
    max_connections: _Count | None = Field(default=None, description="max_connections of the server.")
    server_reserved: _Count | None = Field(
        default=None,
        description="Of these, connections that the server keeps for superusers and reserved roles.",
    )
    behind_pooler: bool | None = Field(
        default=None, description="True where the probe's URL leads through a pooler."
    )
    role_limit: _Count | None = Field(default=None, description="Connection limit of the application's role.")
    database_limit: _Count | None = Field(default=None, description="Connection limit of the database.")
    server_version: int | None = Field(
        default=None, description="PostgreSQL's server_version_num, such as 150018."
    )
    recovery: bool | None = Field(
        default=None, description="True while the server is in recovery: a replica."
    )
    source: str = Field(
        description="Probe, Declared (spec.capacity.maxConnections), Estimate, or Pooler (only its clients "
        "are known)."
    )
    endpoint: str | None = Field(default=None, description="Host and port that this is about.")
    observed_time: _Time = Field(description="When this figure was first seen.")
    stale_since: _Time | None = Field(
        default=None, description="Since when the database could not be asked, while that lasts."
    )
    estimate: EstimateStatus | None = Field(default=None, description="What the provider's documents say.")
    pooler: PoolerStatus | None = Field(default=None, description="What the pooler allows.")


class OthersStatus(Model):
    """Connections that are not the targets', the most within ten minutes."""

    connections: _Count = Field(description="All of them.")
    in_database: _Count = Field(default=0, description="Of these, those to the probe's database.")
    of_role: _Count = Field(default=0, description="Of these, those of the application's role.")
    of_pooler: _Count = Field(default=0, description="Clients of one pooler that are not the targets'.")
    largest: Annotated[list[str], Field(max_length=3)] = Field(
        default=[], description="Who holds the most: application_name, role and count."
    )
    exact: bool = Field(
        default=True,
        description="False where the targets' own connections could not be recognised: name "
        "capacity.probe.applicationRole.",
    )


class WarningStatus(Model):
    """A finding of the checks in docs/checks.md."""

    code: str = Field(description="Stable code, such as PB101.")
    severity: str = Field(description="Error, Warning or Info.")
    subject: str = Field(description="What it is about.")
    message: str = Field(description="What is wrong, and what to do.")


class TargetStatus(Model):
    """One target's share."""

    kind: str = Field(description="Deployment or StatefulSet.")
    name: str = Field(description="Name of the workload.")
    pods: int = Field(description="Pods that may hold connections now, terminating ones included.")
    pool_size: int | None = Field(
        default=None, description="pool_size that the ConfigMap gives to a starting container."
    )
    max_overflow: int | None = Field(
        default=None, description="max_overflow that the ConfigMap gives to a starting container."
    )
    allocated: int = Field(description="Connections that its pods may open.")
    fair_cap: int | None = Field(
        default=None, description="Fair pool_size + max_overflow of each of its pools."
    )
    load: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9])?$", max_length=16)] | None = Field(
        default=None,
        description="Connections that its pods have in use, as shares by demand are worked out with.",
    )
    config_map_name: str | None = Field(default=None, description="The ConfigMap to read.")
    rollout_worst: int | None = Field(
        default=None,
        description="What all targets may open at the worst moment of this target's next rollout.",
    )
    overridden: Annotated[list[str], Field(max_length=64)] = Field(
        default=[], description="Keys of the ConfigMap that the spec sets against the recipe."
    )
    safe_max_surge: int | None = Field(
        default=None, description="The largest maxSurge with which that stays within usable."
    )
    sum: str = Field(description="How allocated came about.")


class LostPodStatus(Model):
    """A pod that vanished although no kubelet has confirmed its end."""

    uid: str = Field(description="The pod's uid.")
    name: str = Field(description="The pod's name.")
    kind: str = Field(description="Kind of its workload.")
    target: str = Field(description="Name of its workload.")
    connections: Annotated[int, Field(ge=0)] = Field(description="Connections that it may still hold.")
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        description="When it vanished."
    )


class LedgerStatus(Model):
    """What the operator must not forget, whoever runs it next."""

    claim: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = Field(
        default=0, description="Number of the last claim to raise sizes; it only grows."
    )
    outstanding: Annotated[list[str], Field(max_length=4 * MAX_TARGETS)] = Field(
        default=[],
        description="ConfigMaps, and targets' pods, that this claim may still raise; empty when nothing is "
        "under way.",
    )
    lost: Annotated[list[LostPodStatus], Field(max_length=100)] = Field(
        default=[], description="Pods that are charged although they are gone."
    )


class PoolBudgetStatus(Model):
    """What the operator found and did."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Annotated[list[ConditionStatus], Field(max_length=16)] = Field(
        default=[],
        description="Ready and the questions behind it.",
        json_schema_extra=list_map("type"),
    )
    capacity: CapacityStatus | None = Field(default=None, description="What the endpoint accepts.")
    usable: int | None = Field(
        default=None, description="Capacity less all that is reserved: what the targets share."
    )
    allocated: int | None = Field(default=None, description="Connections that all pods together may open.")
    others: OthersStatus | None = Field(default=None, description="Connections that are not the targets'.")
    warnings: Annotated[list[WarningStatus], Field(max_length=100)] = Field(
        default=[], description="What the checks found; docs/checks.md explains each code."
    )
    pods: int | None = Field(default=None, description="Pods of all targets.")
    ledger: LedgerStatus | None = Field(
        default=None, description="The operator's own notes. Not for reading, and never to be edited."
    )
    max_pods: int | None = Field(default=None, description="How many pods fit at their floors.")
    targets: Annotated[list[TargetStatus], Field(max_length=2 * MAX_TARGETS)] = Field(
        default=[],
        description="Each target's share.",
        json_schema_extra=list_map("kind", "name"),
    )
