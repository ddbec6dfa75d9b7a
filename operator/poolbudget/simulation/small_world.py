"""What a small world is made of, in values that can be compared: its states, pods and operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from poolbudget.planning.charges import Assumptions, PodFacts
from poolbudget.planning.inputs import PodStage
from poolbudget.planning.ledger import Ledger
from poolbudget.simulation.engine import Request
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import Found, View
from poolbudget.simulation.world import EPOCH, ConfigMapModel, World

TICK = 10.0
NO_LAGS = Assumptions(kubelet_lag=0.0, status_lag=0.0, clock_skew=0.0, creation=0.0)


@dataclass(frozen=True, slots=True)
class SmallPod:
    """A pod; `cap` is None before its container has read anything."""

    target: str
    number: int
    created: int
    started: int | None = None
    cap: int | None = None

    @property
    def uid(self) -> str:
        """Its name."""
        return f"{self.target}-{self.number}"


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of a world to explore: the last four are how often each may happen."""

    usable: int = 9
    pods: tuple[tuple[str, int], ...] = (("a", 2), ("b", 2))
    published: int = 1
    maximum: int = 2
    reconciles: int = 1
    crashes: int = 1
    creations: int = 1
    deletions: int = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operator was told, and when. Two answers that read the same are the same."""

    time: int
    value: Any = field(compare=False)
    key: str


Log = tuple[Answer, ...] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A reconcile that has come so far: what it asks for next (None: it has ended, or was refused).

    `counted` are the pods of the plan that its last answer has put in force.
    """

    made: SmallSurroundings
    request: Request[Any] | None
    refusal: str | None
    counted: frozenset[str]


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment; the last counts are what may still happen."""

    time: int
    config_maps: tuple[tuple[str, ConfigMapModel], ...]
    ledger: Ledger
    version: int
    versions: int
    pods: tuple[SmallPod, ...]
    operators: tuple[Log, ...]
    turns: tuple[int, ...]
    under_way: tuple[tuple[Answer, ...], ...]
    crashes: int
    creations: int
    deletions: int
    created: tuple[int, ...]
    counted: frozenset[str]


class SmallSurroundings(SimulatedSurroundings):
    """Reads that belong together are one request: fewer orders to explore.

    The first look decides on nothing that grows, so it is one; the second one reads ledger, ConfigMaps
    and pods one after the other.
    """

    @property
    def world(self) -> World:
        """Where the next request is performed."""
        return self._world

    @world.setter
    def world(self, world: World) -> None:
        self._world = world

    async def look(self) -> View:
        """Everything at once."""
        read = await Request(
            lambda: (self.read_spec(), dict(self._world.config_maps), self.read_workloads(), self.read_pods())
        )
        found = Found(*read, NO_LAGS, self._clock())
        return self.view_of(found, 0.0, is_complete=True)

    async def look_again(self) -> View:
        """The ledger, then the ConfigMaps, then the pods."""
        spec = await Request(self.read_spec)
        config_maps = await Request(lambda: dict(self._world.config_maps))
        read = await Request(lambda: (self.read_workloads(), self.read_pods()))
        found = Found(spec, config_maps, *read, NO_LAGS, self._clock())
        return self.view_of(found, 0.0, is_complete=True)


class SmallFacts:
    """As much of a simulated pod as the surroundings look at."""

    exists = True

    def __init__(self, pod: SmallPod) -> None:
        self.uid = pod.uid
        self._pod = pod

    def facts(self, _: Callable[[float], float]) -> PodFacts:
        """As the planner is told."""
        pod = self._pod
        return PodFacts(
            uid=pod.uid,
            name=pod.uid,
            stage=PodStage.STARTING if pod.started is None else PodStage.RUNNING,
            created=EPOCH + pod.created * TICK,
            started=None if pod.started is None else EPOCH + pod.started * TICK,
        )


def difference(before: State, after: State) -> str:
    """What a write has changed, in words."""
    old, new = dict(before.config_maps), dict(after.config_maps)
    for name, item in new.items():
        if item.sizes != old[name].sizes:
            return f"{name} {old[name].sizes.cap} -> {item.sizes.cap}"
        if item.version != old[name].version:
            return f"touches {name}"
    return f"ledger, outstanding {', '.join(after.ledger.outstanding) or 'nothing'}"
