"""What the planner is told: plain frozen values, counted in connections and pods."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class ReserveFor(StrEnum):
    """Which pods that do not exist yet find room kept for them."""

    CURRENT_PODS = "CurrentPods"
    NEXT_STEP = "NextStep"
    MAX_REPLICAS = "MaxReplicas"


class UpdateMode(StrEnum):
    """How a target's pods learn their pool sizes, in the Vertical Pod Autoscaler's words."""

    OFF = "Off"
    INITIAL = "Initial"


class PodStage(StrEnum):
    """Where a pod is in its life, as far as connections are concerned.

    A pod that has ended (phase Succeeded or Failed) holds nothing and is not handed to the planner.
    """

    STARTING = "Starting"
    RUNNING = "Running"
    TERMINATING = "Terminating"


class SelectPolicy(StrEnum):
    """Which of several scale-up policies an autoscaler obeys (autoscaling/v2 `selectPolicy`)."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class TargetKey(NamedTuple):
    """A workload within the PoolBudget's namespace."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """What SQLAlchemy is given: connections kept (`pool_size`) and on top (`max_overflow`)."""

    pool_size: int
    max_overflow: int

    @property
    def cap(self) -> int:
        """The most connections that one pool in one process opens."""
        return self.pool_size + self.max_overflow

    def __str__(self) -> str:
        return f"{self.pool_size}/{self.max_overflow}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that exists and has not ended."""

    uid: str
    name: str
    stage: PodStage


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """One scale-up policy of an autoscaler: `value` pods, or `value` percent of the replicas."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler; `policies` is None where it has no `behavior` at all."""

    min_replicas: int
    max_replicas: int
    policies: tuple[ScalingPolicy, ...] | None = None
    select: SelectPolicy = SelectPolicy.MAX


@dataclass(frozen=True, slots=True)
class MaxSurge:
    """A rollout's `maxSurge`: a number of pods, or a percentage of the replicas (rounded up)."""

    value: int
    percent: bool = False

    def pods(self, replicas: int) -> int:
        """Pods that a rollout may add on top of `replicas`."""
        return -(-replicas * self.value // 100) if self.percent else self.value


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment's or StatefulSet's own wishes: `spec.replicas`, the surge, its autoscaler."""

    desired: int
    max_surge: MaxSurge
    autoscaler: Autoscaler | None = None


@dataclass(frozen=True, slots=True)
class TargetBounds:
    """What the PoolBudget says of a target; `min_per_pool` None means that none was given."""

    workers: int = 1
    pools_per_worker: int = 1
    extra_connections: int = 0
    min_per_pool: int | None = None
    max_per_pool: int | None = None
    weight: int = 1

    @property
    def floor(self) -> int:
        """The least cap a pod of this target is ever given."""
        return 1 if self.min_per_pool is None else self.min_per_pool

    @property
    def pools_per_pod(self) -> int:
        """Pools in one pod: each worker process has its own."""
        return self.workers * self.pools_per_worker

    def cost(self, cap: int) -> int:
        """Connections that one pod may open when each of its pools has this cap."""
        return self.pools_per_pod * cap + self.extra_connections


@dataclass(frozen=True, slots=True)
class Target:
    """One workload bound by the budget; `workload` is None while it does not exist."""

    key: TargetKey
    bounds: TargetBounds
    workload: Workload | None
    pods: tuple[Pod, ...] = ()
    published: PoolSizes | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything the planner looks at; `usable` is None while the capacity is unknown.

    `may_raise` is set once larger shares have been wanted for long enough.
    """

    usable: int | None
    targets: tuple[Target, ...]
    reserve_for: ReserveFor = ReserveFor.NEXT_STEP
    pool_size_percent: int = 70
    may_raise: bool = True
