"""`spec` of a PoolBudget. Every field's description becomes the schema's."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from poolbudget.planning.inputs import ReserveFor
from poolbudget.resource.capacity import Capacity, Reserved
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.model import MAX_TARGETS, Model, list_map, rules
from poolbudget.resource.target import TargetSpec


class ShareBy(StrEnum):
    """By what connections are shared out among the targets."""

    WEIGHT = "Weight"
    DEMAND = "Demand"


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
            },
            {
                "rule": "has(self.capacity.probe) || self.targets.all(t, t.updateMode != 'InPlace')",
                "message": "pods that are InPlace say in the database what they have applied, and somebody "
                "has to look: give the PoolBudget a capacity.probe",
            },
            {
                "rule": "self.shareBy != 'Demand' || self.targets.all(t, t.updateMode == 'InPlace')",
                "message": "shares that go by demand change while pods run: set updateMode InPlace for every "
                "target, or shareBy Weight",
            },
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
    share_by: ShareBy = Field(
        default=ShareBy.WEIGHT,
        description="How connections are shared out. Weight: evenly, times the targets' weights. Demand: "
        "first as many as are in use, as the probe sees, then the rest where waiting falls the most.",
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
        json_schema_extra=list_map("kind", "name"),
    )
