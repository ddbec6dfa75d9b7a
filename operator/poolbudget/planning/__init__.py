"""The planning core: frozen values in, a plan out. No I/O, no clock, no logging."""

from poolbudget.planning.inputs import (
    Autoscaler,
    Inputs,
    MaxSurge,
    Pod,
    PodStage,
    PoolSizes,
    ReserveFor,
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
    "Inputs",
    "MaxSurge",
    "Plan",
    "Pod",
    "PodStage",
    "PoolSizes",
    "ReserveFor",
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
