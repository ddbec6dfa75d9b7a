"""`status` of a PoolBudget, for the schema and for reading back what was last known."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from poolbudget.resource.spec import MAX_CONNECTIONS, MAX_TARGETS, Model


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


class CapacityStatus(Model):
    """What the endpoint accepts, and who said so."""

    max_connections: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        description="Connections that the endpoint accepts."
    )
    server_reserved: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        description="Of these, connections that the server keeps for superusers and reserved roles."
    )
    source: str = Field(description="Probe, or Declared (spec.capacity.maxConnections).")
    endpoint: str | None = Field(default=None, description="Host and port that this is about.")
    observed_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        description="When this figure was first seen."
    )
    stale_since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        default=None, description="Since when the database could not be asked, while that lasts."
    )


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
    config_map_name: str | None = Field(default=None, description="The ConfigMap to read.")
    rollout_worst: int | None = Field(
        default=None,
        description="What all targets may open at the worst moment of this target's next rollout.",
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
    outstanding: Annotated[list[str], Field(max_length=2 * MAX_TARGETS)] = Field(
        default=[], description="ConfigMaps that this claim may still raise; empty when nothing is under way."
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
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    capacity: CapacityStatus | None = Field(default=None, description="What the endpoint accepts.")
    usable: int | None = Field(
        default=None, description="Capacity less all that is reserved: what the targets share."
    )
    allocated: int | None = Field(default=None, description="Connections that all pods together may open.")
    pods: int | None = Field(default=None, description="Pods of all targets.")
    ledger: LedgerStatus | None = Field(
        default=None, description="The operator's own notes. Not for reading, and never to be edited."
    )
    max_pods: int | None = Field(default=None, description="How many pods fit at their floors.")
    targets: Annotated[list[TargetStatus], Field(max_length=2 * MAX_TARGETS)] = Field(
        default=[],
        description="Each target's share.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["kind", "name"],
        },
    )
