"""Scenarios: small YAML files that say what runs, what happens and what may go wrong."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from poolbudget.planning.inputs import (
    Autoscaler,
    ReserveFor,
    RolloutLimit,
    ScalingPolicy,
    SelectPolicy,
    TargetBounds,
    Workload,
)

Range = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


class ScenarioError(Exception):
    """A scenario file that cannot be read, with what is wrong and where."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class AutoscalerModel(_Model):
    """A HorizontalPodAutoscaler: its bounds, and pods or percent that one step may add."""

    min_replicas: int = 1
    max_replicas: int
    pods_per_step: int | None = None
    percent_per_step: int | None = None
    has_behavior: bool = False

    def autoscaler(self) -> Autoscaler:
        """As the planner knows it."""
        steps = (("Pods", self.pods_per_step), ("Percent", self.percent_per_step))
        policies = tuple(ScalingPolicy(kind, value) for kind, value in steps if value is not None)
        given = policies if policies or self.has_behavior else None
        return Autoscaler(self.min_replicas, self.max_replicas, given, SelectPolicy.MAX)


class TargetModel(_Model):
    """A Deployment and how its pods behave. Times are ranges in seconds.

    One that does not replace at once creates a pod only when its predecessor is gone, as a StatefulSet. Pods
    of one that is in place follow shares of their own while they run. With a `load`, shares go by demand: so
    many connections all pods of the target have in use.
    """

    name: str
    replicas: int = 1
    workers: int = 1
    pools_per_worker: int = 1
    extra_connections: int = 0
    min_per_pool: int | None = None
    max_per_pool: int | None = None
    weight: int = 1
    autoscaler: AutoscalerModel | None = None
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"
    recreate: bool = False
    replaces_at_once: bool = True
    in_place: bool = False
    start_per_pool: int = 1
    load: float | None = None
    min_ready_seconds: int = 0
    starting: Range = (0.5, 10.0)
    ready: Range = (0.2, 2.0)
    terminating: Range = (0.5, 30.0)
    fixed_cap: int | None = None

    def bounds(self) -> TargetBounds:
        """As the planner knows it."""
        return TargetBounds(
            workers=self.workers,
            pools_per_worker=self.pools_per_worker,
            extra_connections=self.extra_connections,
            min_per_pool=self.min_per_pool,
            max_per_pool=self.max_per_pool,
            weight=self.weight,
            start_per_pool=self.start_per_pool,
        )

    def workload(self, desired: int) -> Workload:
        """As the planner knows it."""
        between = max(1, self.min_ready_seconds)
        waves = 0 if self.recreate else 1 + -(-int(self.terminating[1]) // between)
        return Workload(
            desired=desired,
            max_surge=RolloutLimit(0) if self.recreate else _limit(self.max_surge),
            autoscaler=None if self.autoscaler is None else self.autoscaler.autoscaler(),
            max_unavailable=RolloutLimit(0) if self.recreate else _limit(self.max_unavailable),
            waves=waves,
            deleted_at_once=RolloutLimit(100 if self.replaces_at_once else 0, percent=True),
        )


class Action(_Model):
    """Something that happens at a time (seconds), such as `{at: 60, do: scale, target: api, to: 9}`."""

    at: Annotated[float, Field(ge=0)]
    do: Literal[
        "scale",
        "rollout",
        "crash",
        "freeze",
        "delete",
        "forceDelete",
        "kill",
        "start",
        "usable",
        "workers",
        "removeTarget",
    ]
    target: str | None = None
    to: int | None = None
    seconds: float | None = None


class Churn(_Model):
    """Scaling, rollouts and crashes at random: chances per target every so many seconds.

    `load` is the chance that another number of connections is in use.
    """

    every: float = 15.0
    scaling: float = 0.25
    rollout: float = 0.05
    crash: float = 0.05
    delete: float = 0.02
    load: float = 0.0


class Faults(_Model):
    """What may go wrong with the operator and its requests. Chances are per request or per minute."""

    operators: Annotated[int, Field(ge=1, le=2)] = 1
    crash_per_minute: float = 0.0
    restart: Range = (0.5, 10.0)
    stall_per_minute: float = 0.0
    crash_per_write: float = 0.0
    lost_reply: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    dropped_events: float = 0.0
    latency: Range = (0.001, 0.02)


class Scenario(_Model):
    """One cluster, one budget and what happens to them; everything is in connections and seconds.

    With `insideAssumptions` containers start no sooner than docs/safety.md assumes; without, overruns
    are counted and are no failure. `kubeletLag` is how old a kubelet's view may really be.
    """

    name: str
    description: str = ""
    usable: Annotated[int, Field(ge=1)]
    others: int = 0
    duration: float = 300.0
    reserve_for: ReserveFor = ReserveFor.NEXT_STEP
    targets: Annotated[list[TargetModel], Field(min_length=1)]
    actions: list[Action] = []
    churn: Churn | None = None
    faults: Faults = Faults()
    inside_assumptions: bool = True
    kubelet_lag: Annotated[float, Field(ge=0)] = 0.95


def load(path: Path) -> Scenario:
    """A scenario file. Raises ScenarioError."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    return parse(text, str(path))


def builtin(name: str) -> Scenario:
    """A scenario that comes along. Raises ScenarioError for an unknown name."""
    file = resources.files("poolbudget.simulation") / "scenarios" / f"{name}.yaml"
    if not file.is_file():
        raise ScenarioError(f"no scenario {name}; there are {', '.join(builtin_names())}")
    return parse(file.read_text(), name)


def builtin_names() -> list[str]:
    """The scenarios that come along."""
    folder = resources.files("poolbudget.simulation") / "scenarios"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def parse(text: str, source: str) -> Scenario:
    """A scenario from YAML. Raises ScenarioError."""
    try:
        scenario = Scenario.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{source}: not YAML: {error}") from None
    except ValidationError as error:
        complaints = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
        ]
        raise ScenarioError(f"{source}: {'; '.join(complaints[:3])}") from None
    known = {target.name for target in scenario.targets}
    for action in scenario.actions:
        if action.target is not None and action.target not in known:
            raise ScenarioError(f"{source}: actions: no target named {action.target}")
    return scenario


def _limit(value: int | str) -> RolloutLimit:
    if isinstance(value, int):
        return RolloutLimit(value)
    return RolloutLimit(int(value.removesuffix("%")), percent=True)
