"""What the API server of a simulation holds, and what the pods really have open."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from poolbudget.planning.charges import PodFacts
from poolbudget.planning.history import History
from poolbudget.planning.in_place import Grant
from poolbudget.planning.inputs import PodCost, PodStage, PoolSizes, TargetBounds, TargetKey, Workload
from poolbudget.planning.ledger import Ledger
from poolbudget.simulation.scenario import Scenario, TargetModel

EPOCH = 1_800_000_000.0
"""Seconds since 1970 at which every simulation begins."""


class WriteRefused(Exception):
    """The object was changed since it was read: 409."""


@dataclass(eq=False, slots=True)
class Pool:
    """One pool of a pod that follows its share: what it obeys, has open, and is seen to say of itself.

    `said` is a revision and its cap.
    """

    revision: int
    cap: int
    open: int
    said: tuple[int, int]


@dataclass(slots=True)
class SimulatedPod:
    """A pod: what the API server says of it, and what is true.

    `holds` is the truth: connections that its container may open by what it really read. `grant` is the
    annotation of a pod that follows its share, `file` what the kubelet has made of it, and `remains` are the
    connections that a killed process has left behind. A `frozen` process applies nothing and says nothing.
    """

    uid: str
    name: str
    target: str
    template: int
    cost: PodCost
    created: float
    version: int = 0
    has_node: bool = False
    reported_start: float | None = None
    deletion: float | None = None
    is_ready: bool = False
    exists: bool = True
    ended: bool = False
    stopped: bool = False
    reads: int = 0
    last_cap: int | None = None
    holds: int = 0
    follows: bool = False
    grant: Grant | None = None
    file: Grant | None = None
    pools: list[Pool] = field(default_factory=list)
    remains: list[Pool] = field(default_factory=list)
    frozen: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it exists and nobody has asked to delete it."""
        return self.exists and not self.ended and self.deletion is None

    def facts(self, clock: Callable[[float], float]) -> PodFacts | None:
        """As the API server tells; None for one whose end is confirmed."""
        if self.ended:
            return None
        stage = PodStage.STARTING if self.reported_start is None else PodStage.RUNNING
        return PodFacts(
            uid=self.uid,
            name=self.name,
            stage=stage if self.deletion is None else PodStage.TERMINATING,
            created=float(math.floor(clock(self.created))),
            started=self.reported_start,
            deleted=None if self.deletion is None else float(math.floor(clock(self.deletion))),
            template=str(self.template),
            has_node=self.has_node,
        )


@dataclass(slots=True)
class SimulatedTarget:
    """A Deployment and the settings that the PoolBudget has for it."""

    model: TargetModel
    bounds: TargetBounds
    desired: int
    template: int = 1
    is_bound: bool = True
    created_pods: int = 0
    load: float | None = None

    @property
    def key(self) -> TargetKey:
        """As the planner knows it."""
        return TargetKey("Deployment", self.model.name)

    @property
    def workload(self) -> Workload:
        """As the planner knows it."""
        return self.model.workload(self.desired)

    @property
    def cost(self) -> PodCost:
        """What a pod of the present template really costs."""
        return self.bounds.pod_cost


@dataclass(frozen=True, slots=True)
class ConfigMapModel:
    """A target's ConfigMap at one version. `arrived` is the API server's clock at the last write."""

    sizes: PoolSizes
    history: History
    version: int
    arrived: float


@dataclass(slots=True)
class World:
    """Everything at one moment. `versions` counts all writes, as resourceVersion does.

    `connected` are the pods that follow their shares and have connections open; `told` hears of each
    annotation that is written.
    """

    scenario: Scenario
    usable: int
    targets: dict[str, SimulatedTarget]
    pods: dict[str, SimulatedPod] = field(default_factory=dict)
    config_maps: dict[str, ConfigMapModel] = field(default_factory=dict)
    published: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    ledger_version: int = 1
    status_writes: int = 0
    versions: int = 1
    open: int = 0
    smallest: int | None = None
    now: Callable[[], float] = lambda: 0.0
    skew: float = 0.0
    is_fenced: bool = True
    connected: dict[str, SimulatedPod] = field(default_factory=dict)
    told: Callable[[SimulatedPod], None] = lambda _: None

    def clock(self, time: float | None = None) -> float:
        """The API server's clock, in seconds since 1970."""
        return EPOCH + (self.now() if time is None else time) + self.skew

    def next_version(self) -> int:
        """A resourceVersion."""
        self.versions += 1
        return self.versions

    @property
    def config_map_writes(self) -> int:
        """Writes of all ConfigMaps, and of pods' annotations."""
        return self.writes.total()

    def facts(self) -> dict[str, PodFacts]:
        """What the API server tells of every pod that it has."""
        found = {pod.uid: pod.facts(self.clock) for pod in self.pods.values() if pod.exists}
        return {uid: facts for uid, facts in found.items() if facts is not None}

    def pods_of(self, target: str) -> list[SimulatedPod]:
        """The pods of a target that the API server still has."""
        return [pod for pod in self.pods.values() if pod.target == target and pod.exists]

    def live_pods_of(self, target: str) -> list[SimulatedPod]:
        """The pods of a target that nobody has asked to delete."""
        return [pod for pod in self.pods_of(target) if pod.is_live]

    def write_config_map(self, name: str, expected: int | None, sizes: PoolSizes, history: History) -> int:
        """Write a ConfigMap if it is at the expected version (None: not there). Raises WriteRefused."""
        current = self.config_maps.get(name)
        if self.is_fenced and (None if current is None else current.version) != expected:
            raise WriteRefused(f"ConfigMap {name}")
        version = self.next_version()
        self.config_maps[name] = ConfigMapModel(sizes, history, version, self.clock())
        self.published.setdefault(name, []).append((self.now(), sizes.cap))
        self.writes[name] += 1
        return version

    def touch(self, name: str, expected: int) -> int:
        """Write a ConfigMap that says the same. Raises WriteRefused."""
        current = self.config_maps[name]
        if self.is_fenced and current.version != expected:
            raise WriteRefused(f"ConfigMap {name}")
        self.config_maps[name] = replace(current, version=self.next_version())
        self.writes[name] += 1
        return self.config_maps[name].version

    def write_ledger(self, expected: int, ledger: Ledger) -> int:
        """Write the status if it is at the expected version. Raises WriteRefused."""
        if self.is_fenced and self.ledger_version != expected:
            raise WriteRefused("the ledger")
        self.ledger, self.ledger_version = ledger, self.next_version()
        self.status_writes += 1
        return self.ledger_version

    def change_spec(self) -> None:
        """Somebody edits the PoolBudget: its version changes, and so the ledger's."""
        self.ledger_version = self.next_version()

    def cap_as_seen(self, target: str, time: float) -> int | None:
        """What a kubelet reads whose view is of that time; None where there is no ConfigMap yet."""
        seen: int | None = None
        for at, cap in self.published.get(target, []):
            if at > time:
                break
            seen = cap
        return seen

    def tell(self, pod: SimulatedPod, expected: Grant | None, grant: Grant) -> int:
        """Replace a pod's annotation if it says what was seen. Raises WriteRefused."""
        if not pod.exists:
            return 0
        if self.is_fenced and pod.grant != expected:
            raise WriteRefused(f"pod {pod.name}")
        pod.grant = grant
        self.writes[f"pod {pod.name}"] += 1
        pod.version = self.next_version()
        self.told(pod)
        return pod.version

    def grants(self) -> dict[str, Grant | None]:
        """What the annotation of each pod says that follows its share; None for nothing yet."""
        return {pod.uid: pod.grant for pod in self.pods.values() if pod.exists and pod.follows}

    def count(self, pod: SimulatedPod) -> None:
        """What a pod that follows its share may open has changed."""
        pools = sum(max(pool.cap, pool.open) for pool in pod.pools)
        extra = pod.cost.extra if pod.pools else 0
        self.hold(pod, pools + extra + sum(pool.open for pool in pod.remains))
        if pod.pools or pod.remains:
            self.connected[pod.uid] = pod
        else:
            self.connected.pop(pod.uid, None)

    def hold(self, pod: SimulatedPod, connections: int) -> None:
        """From now on the pod may open this many connections."""
        self.open += connections - pod.holds
        pod.holds = connections


def new_world(scenario: Scenario) -> World:
    """The world before anything has happened."""
    targets = {
        item.name: SimulatedTarget(item, item.bounds(), item.replicas, load=item.load)
        for item in scenario.targets
    }
    return World(scenario=scenario, usable=scenario.usable - scenario.others, targets=targets)
