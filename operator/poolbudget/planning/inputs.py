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
    IN_PLACE = "InPlace"


class PodStage(StrEnum):
    """Where a pod is in its life, as far as connections are concerned.

    A pod that has ended (phase Succeeded or Failed) holds nothing and is not handed to the planner, unless
    its connections still have to be seen to be gone from the database. A lost one is gone from the API
    server although no kubelet has confirmed its end.
    """

    STARTING = "Starting"
    RUNNING = "Running"
    TERMINATING = "Terminating"
    LOST = "Lost"
    ENDED = "Ended"


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
class PodCost:
    """What a pod costs at a cap: its pools, and connections outside of them."""

    pools: int
    extra: int

    def at(self, cap: int) -> int:
        """Connections that one pod may open when each of its pools has this cap."""
        return self.pools * cap + self.extra

    def most(self, other: PodCost) -> PodCost:
        """A cost that is never below either."""
        return PodCost(max(self.pools, other.pools), max(self.extra, other.extra))


@dataclass(frozen=True, slots=True)
class Charge:
    """What one pod may open, in connections (docs/safety.md).

    `connections` is the most, given everything that it may have read; `certain` the least that it may
    open for sure. `next` is what it would cost at a larger cap, since a container that starts again
    reads what is published then; None for a pod that starts nothing any more. `basis` says why, in words.
    """

    connections: int
    certain: int = 0
    next: PodCost | None = None
    basis: str = ""

    def at(self, cap: int) -> int:
        """The charge once `cap` is published."""
        return self.connections if self.next is None else max(self.connections, self.next.at(cap))


@dataclass(frozen=True, slots=True)
class Applied:
    """What the database shows of a pod.

    `revision` is the lowest that any of its pools has applied, None while not all of them have been seen.
    `cap` is the largest that any of them has named, `connections` how many are open.
    """

    revision: int | None = None
    cap: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class PodShare:
    """What a pod that follows its share was told last, None where nothing yet.

    `is_acknowledged`: all of its pools say in the database that they have applied that. A pinned one should
    have said so long ago: what it holds is not counted on any more, and nothing else is told to it.
    `cost` is what the pod costs by the workers of its time, None for the target's present cost.
    """

    told: PoolSizes | None = None
    is_acknowledged: bool = False
    is_pinned: bool = False
    applied: Applied = Applied()
    cost: PodCost | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that exists and has not ended. `template` tells the generations of a rollout apart.

    A pod without a node holds nothing yet. One that is no replica reads the target's sizes without being
    one of its workload's pods, such as a Job's. `share` is None for a pod that reads its sizes at start
    only; else the target's sizes are what it starts with, and it is told its own.
    """

    uid: str
    name: str
    stage: PodStage
    charge: Charge
    template: str = ""
    has_node: bool = True
    is_replica: bool = True
    share: PodShare | None = None

    @property
    def is_adjustable(self) -> bool:
        """Whether it can be told another share. What has no node yet is told nothing."""
        return self.share is not None and self.has_node and self.is_live

    @property
    def is_live(self) -> bool:
        """Whether nobody has asked to delete it, and it is there."""
        return self.stage in (PodStage.STARTING, PodStage.RUNNING)

    def allocated(self, cap: int | None) -> int:
        """What the pod may open while `cap` is published (None: nothing is)."""
        if not self.has_node:
            return 0
        return self.charge.connections if cap is None else self.charge.at(cap)


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
class RolloutLimit:
    """A rollout's `maxSurge` or `maxUnavailable`: a number of pods, or a percentage of the replicas."""

    value: int
    percent: bool = False

    def rounded_up(self, replicas: int) -> int:
        """Pods, as Kubernetes rounds `maxSurge`."""
        return -(-replicas * self.value // 100) if self.percent else self.value

    def rounded_down(self, replicas: int) -> int:
        """Pods, as Kubernetes rounds `maxUnavailable`."""
        return replicas * self.value // 100 if self.percent else self.value


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment's or StatefulSet's own wishes: `spec.replicas`, how a rollout goes, its autoscaler.

    `waves` is how many waves of a rollout's new pods may start while the old pods of the first one still
    terminate; 0 where a new pod waits until its predecessor is gone. `deleted_at_once` pods may be
    deleted or evicted and replaced at once, beside those that terminate: all of a Deployment's, and none
    of a StatefulSet's.
    """

    desired: int
    max_surge: RolloutLimit
    autoscaler: Autoscaler | None = None
    max_unavailable: RolloutLimit = RolloutLimit(0)
    waves: int = 0
    deleted_at_once: RolloutLimit = RolloutLimit(0)

    def maximum(self) -> int:
        """The most replicas that there may ever be, as far as the autoscaler decides."""
        if self.autoscaler is None:
            return self.desired
        return max(self.desired, self.autoscaler.max_replicas, self.autoscaler.min_replicas)

    def replaced_beside(self, replicas: int) -> int:
        """Pods that may start while those that they replace still terminate, for whatever reason."""
        return max(self.overlapping(replicas), self.deleted_at_once.rounded_up(replicas))

    def overlapping(self, replicas: int) -> int:
        """Pods that may start in a rollout while those that they replace still terminate.

        Neither `maxSurge` nor `maxUnavailable` includes terminating pods (kubernetes/kubernetes#95498):
        if they take longer to end than their successors to become ready, that is a whole generation.
        """
        return min(replicas, max(1, self._wave(replicas)) * self.waves)

    def in_rollout(self, live: int, terminating: int) -> int:
        """Pods that a rollout may start before any of those that they replace has ended.

        The surge, and one wave beside the pods that terminate for it, less what of both is there
        already: old pods that end before the next wave comes are replaced at the same size throughout.
        """
        if not self.waves:
            return 0
        surge = max(0, self.desired + self.max_surge.rounded_up(self.desired) - max(live, self.desired))
        return min(self.desired, surge + max(0, self._wave(self.desired) - terminating))

    def next_wave(self, live: int, terminating: int) -> int:
        """Pods that a rollout may start before any plan sees them: as `in_rollout`, of one wave only.

        Enough where those that run give up for the next wave what this one needs.
        """
        if not self.waves:
            return 0
        surge = max(0, live - self.desired)
        return min(self.desired, max(0, self._wave(self.desired) - surge - terminating))

    def _wave(self, replicas: int) -> int:
        return self.max_surge.rounded_up(replicas) + self.max_unavailable.rounded_down(replicas)


@dataclass(frozen=True, slots=True)
class TargetBounds:
    """What the PoolBudget says of a target; `min_per_pool` None means that none was given.

    `start_per_pool` is the cap that a pod has before it is told its own, where pods follow their shares.
    """

    workers: int = 1
    pools_per_worker: int = 1
    extra_connections: int = 0
    min_per_pool: int | None = None
    max_per_pool: int | None = None
    weight: int = 1
    start_per_pool: int = 1

    @property
    def floor(self) -> int:
        """The least cap a pod of this target is ever given."""
        return 1 if self.min_per_pool is None else self.min_per_pool

    @property
    def pools_per_pod(self) -> int:
        """Pools in one pod: each worker process has its own."""
        return self.workers * self.pools_per_worker

    @property
    def pod_cost(self) -> PodCost:
        """What one pod costs."""
        return PodCost(self.pools_per_pod, self.extra_connections)

    def cost(self, cap: int) -> int:
        """Connections that one pod may open when each of its pools has this cap."""
        return self.pod_cost.at(cap)


@dataclass(frozen=True, slots=True)
class Target:
    """One workload bound by the budget; `workload` is None while it does not exist.

    A former target is one that the PoolBudget no longer names: nothing is published for it, and what its
    pods hold counts until they are gone. For one that is off the plan only says what it would publish. Pods
    of one that is in place follow shares of their own while they run. `load` is how many connections its pods
    have in use, all together, None where shares do not go by that.
    """

    key: TargetKey
    bounds: TargetBounds
    workload: Workload | None
    pods: tuple[Pod, ...] = ()
    published: PoolSizes | None = None
    is_former: bool = False
    is_off: bool = False
    is_in_place: bool = False
    load: float | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything the planner looks at; `usable` is None while the capacity is unknown.

    `may_raise` is set once larger sizes may be published, `may_grow` once pods that run may be told larger
    shares.
    """

    usable: int | None
    targets: tuple[Target, ...]
    reserve_for: ReserveFor = ReserveFor.NEXT_STEP
    pool_size_percent: int = 70
    may_raise: bool = True
    may_grow: bool = True
