"""The planning core: frozen values in, a plan out. No I/O, no clock, no logging."""

from poolbudget.planning.inputs import (
    Autoscaler,
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    PoolSizes,
    ReserveFor,
    RolloutLimit,
    ScalingPolicy,
    SelectPolicy,
    Target,
    TargetBounds,
    TargetKey,
    UpdateMode,
    Workload,
)
from poolbudget.planning.plan import Plan, TargetPlan, plan

__all__ = [
    "Autoscaler",
    "Charge",
    "Inputs",
    "Plan",
    "Pod",
    "PodCost",
    "PodStage",
    "PoolSizes",
    "ReserveFor",
    "RolloutLimit",
    "ScalingPolicy",
    "SelectPolicy",
    "Target",
    "TargetBounds",
    "TargetKey",
    "TargetPlan",
    "UpdateMode",
    "Workload",
    "plan",
]
