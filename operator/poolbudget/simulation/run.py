"""One run: a scenario, a policy and a seed; what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from poolbudget.planning.charges import Assumptions
from poolbudget.planning.history import first_entry
from poolbudget.planning.inputs import PodCost, PoolSizes
from poolbudget.planning.plan import Fit, Plan
from poolbudget.planning.sizes import split_cap
from poolbudget.reconcile import Surroundings
from poolbudget.simulation.aftermath import Aftermath
from poolbudget.simulation.engine import Simulation
from poolbudget.simulation.happenings import Happenings
from poolbudget.simulation.kubernetes import Kubernetes, Lags
from poolbudget.simulation.operator import SimulatedOperator
from poolbudget.simulation.oracles import Bound, Course, Promptness, jain
from poolbudget.simulation.scenario import Faults, Scenario
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import PERCENT, View
from poolbudget.simulation.world import SimulatedPod, SimulatedTarget, new_world

_SAMPLE = 5.0
_FORMULA_LATENCY = 0.05


class Policy(StrEnum):
    """Who decides on the sizes. `as-reported`: the fixed ones that an incident's people had."""

    FORMULA = "formula"
    AS_REPORTED = "as-reported"
    STATIC_PEAK = "static-peak"
    POOLBUDGET = "poolbudget"


@dataclass(slots=True)
class Outcome:
    """What one run came to; sums are parts of usable, times seconds.

    `held` is what pods could really open, `allocated` what the operator charged them. `jain` is taken
    while it ran, `quiet_jain` and `quiet_share` after a restart of all containers.
    """

    seed: int
    policy: Policy
    overruns: int
    worst: float
    time_over: float
    allocated: float
    held: float
    jain: float
    smallest: int
    restarts: int
    writes: int
    events: int
    converged_after: float | None = None
    quiet_share: float | None = None
    quiet_jain: float | None = None
    said_late: int = 0
    problems: list[str] = field(default_factory=list)
    trace: list[tuple[float, str]] = field(default_factory=list)
    course: list[Course] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing happened that must not."""
        return not self.overruns and not self.problems


class Run:
    """A scenario under a policy, with one seed's accidents."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        seed: int,
        assumptions: Assumptions | None = None,
        lags: Lags | None = None,
        surround: Callable[[SimulatedSurroundings], Surroundings[View]] = lambda made: made,
    ) -> None:
        """`assumptions` are the operator's; `lags` how late things really are."""
        self.scenario = scenario
        self.policy = policy
        self.seed = seed
        self.simulation = Simulation(seed)
        self.world = new_world(scenario)
        self.world.now = lambda: self.simulation.now
        self.world.skew = self.simulation.between((0.0, 0.95))
        self.bound = Bound(self.simulation, self.world)
        self._promptness = Promptness(self.simulation)
        lags = Lags(kubelet=scenario.kubelet_lag) if lags is None else lags
        self.kubernetes = Kubernetes(self.simulation, self.world, self._may_read, self._changed, lags)
        self._assumptions = Assumptions() if assumptions is None else assumptions
        self.operators = [
            SimulatedOperator(
                self.simulation,
                self.world,
                scenario.faults,
                self._planned,
                self._told,
                self._assumptions,
                surround,
            )
            for _ in range(scenario.faults.operators if policy is Policy.POOLBUDGET else 0)
        ]
        self._happenings = Happenings(self.simulation, self.world, self.kubernetes, self.operators)
        self._may_read_at_once = policy is not Policy.POOLBUDGET or not scenario.inside_assumptions
        self._said_late = 0
        self._charged: int | None = None
        self._held: list[float] = []
        self._allocated: list[float] = []
        self._fairness: list[float] = []
        self.simulation.after_each = self.bound.check

    def play(self, *, aftermath: bool = True) -> Outcome:
        """The whole scenario, and a quiet time after it."""
        for operator in self.operators:
            operator.start()
        for target in self.world.targets.values():
            self.kubernetes.begin(target)
        if self.policy is not Policy.POOLBUDGET:
            self._publish_simply()
        self._happenings.begin()
        self.simulation.after(_SAMPLE, self._sample)
        self.simulation.run(self.scenario.duration)
        outcome = self._outcome()
        if self.policy is Policy.POOLBUDGET and aftermath:
            after = Aftermath(
                self.simulation, self.world, self._happenings, self.operators, self._assumptions, self.afresh
            )
            outcome.problems = list(after.complaints())
            outcome.overruns, outcome.worst = self.bound.overruns, self.bound.worst
            outcome.converged_after = after.converged_after
            outcome.quiet_share, outcome.quiet_jain = after.share_in_use, after.fairness
        return outcome

    def afresh(self) -> dict[str, PoolSizes]:
        """What another run publishes that begins where this one has ended, and in which nothing happens."""
        targets = [
            item.model.model_copy(
                update={"replicas": item.desired, "workers": item.bounds.workers, "load": item.load}
            )
            for item in self.world.targets.values()
            if item.is_bound
        ]
        quiet = {
            "targets": targets,
            "usable": self.world.usable,
            "others": 0,
            "actions": [],
            "churn": None,
            "faults": Faults(),
        }
        fresh = Run(self.scenario.model_copy(update=quiet), self.policy, self.seed, self._assumptions)
        fresh.play(aftermath=False)
        return {name: item.sizes for name, item in fresh.world.config_maps.items()}

    def let_everybody_start(self) -> None:
        """From now on containers start as soon as they can, plan or no plan."""
        self._may_read_at_once = True

    def _may_read(self, pod: SimulatedPod) -> float | None:
        if self._may_read_at_once:
            return 0.0
        return self._promptness.may_read(pod)

    def _changed(self, _: str, pod: SimulatedPod | None) -> None:
        for operator in self.operators:
            operator.hear(pod)
        if pod is None and self.policy in (Policy.FORMULA, Policy.AS_REPORTED):
            self.simulation.after(_FORMULA_LATENCY, self._publish_simply)

    def _planned(self, seen: View, decided: Plan) -> None:
        self._promptness.planned(seen, decided)
        self._charged = decided.allocated

    def _told(self, fit: Fit) -> None:
        if fit is Fit.FITS and self.world.open > self.world.usable:
            self._said_late += 1

    def _publish_simply(self) -> None:
        """What the other policies do: one division, by the pods of now or by the most there may be."""
        targets = list(self.world.targets.values())
        if self.policy is not Policy.STATIC_PEAK:
            pools = sum(target.desired * target.cost.pools for target in targets)
            extra = sum(target.desired * target.cost.extra for target in targets)
        else:
            pools = sum(_most(target) * target.cost.pools for target in targets)
            extra = sum(_most(target) * target.cost.extra for target in targets)
        for target in targets:
            fixed = target.model.fixed_cap if self.policy is Policy.AS_REPORTED else None
            self._set(target, fixed or max(1, (self.world.usable - extra) // max(1, pools)))

    def _set(self, target: SimulatedTarget, cap: int) -> None:
        name = target.model.name
        live = self.world.config_maps.get(name)
        sizes = split_cap(cap, PERCENT)
        if live is None or live.sizes != sizes:
            history = first_entry(1, sizes.cap, PodCost(1, 0), self.world.clock())
            self.world.write_config_map(name, None if live is None else live.version, sizes, history)

    def _sample(self) -> None:
        """Every five seconds: how much of usable the pods hold, and how evenly."""
        usable = max(1, self.world.usable)
        self._held.append(self.world.open / usable)
        self._allocated.append((self.world.open if self._charged is None else self._charged) / usable)
        holding = [pod for pod in self.world.pods.values() if pod.holds and pod.is_live]
        if holding:
            weights = self.world.targets
            self._fairness.append(
                jain([(pod.last_cap or 0) / weights[pod.target].bounds.weight for pod in holding])
            )
        if self.simulation.now < self.scenario.duration:
            self.simulation.after(_SAMPLE, self._sample)

    def _outcome(self) -> Outcome:
        return Outcome(
            seed=self.seed,
            policy=self.policy,
            overruns=self.bound.overruns,
            worst=self.bound.worst,
            time_over=self.bound.time_over / max(1.0, self.scenario.duration),
            allocated=_mean(self._allocated),
            held=_mean(self._held),
            jain=_mean(self._fairness),
            smallest=self.world.smallest or 0,
            restarts=self._happenings.restarts,
            writes=self.world.config_map_writes + self.world.status_writes,
            events=self.simulation.events,
            said_late=self._said_late,
            trace=self.simulation.trace,
            course=self.bound.course,
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _most(target: SimulatedTarget) -> int:
    """The most pods that a target may have while nothing terminates slowly: maximum and surge."""
    maximum = target.workload.maximum()
    return maximum + target.workload.max_surge.rounded_up(maximum)
