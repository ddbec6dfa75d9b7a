"""Many runs on all cores: what they come to together, and the shortest one that fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from poolbudget.simulation.run import Outcome, Policy, Run
from poolbudget.simulation.scenario import Faults, Scenario

_CHUNK = 5

FAULTS = Faults(
    operators=2,
    crash_per_minute=1.0,
    stall_per_minute=0.5,
    lost_reply=0.02,
    lost=0.01,
    late=0.01,
    dropped_events=0.02,
    crash_per_write=0.01,
    latency=(0.001, 0.05),
)
"""What may go wrong in every second schedule of a scenario that says nothing of faults."""


def schedule(scenario: Scenario, seed: int) -> Scenario:
    """The scenario as it is played with a seed: odd ones with faults."""
    if seed % 2 and scenario.inside_assumptions and scenario.faults == Faults():
        return scenario.model_copy(update={"faults": FAULTS})
    return scenario


def policies_for(scenario: Scenario, policies: Sequence[Policy]) -> list[Policy]:
    """Without the sizes that were reported there is nothing to play them with."""
    has_fixed = any(target.fixed_cap for target in scenario.targets)
    return [policy for policy in policies if policy is not Policy.AS_REPORTED or has_fixed]


@dataclass(slots=True)
class Summary:
    """A scenario under a policy over all seeds. Sums are parts of usable; `failed` are the bad seeds."""

    scenario: Scenario
    policy: Policy
    schedules: int = 0
    with_overrun: int = 0
    worst: float = 0.0
    failed: list[Outcome] = field(default_factory=list)
    said_late: int = 0
    smallest: int | None = None
    slowest: float = 0.0
    _sums: dict[str, float] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.schedules += 1
        self.with_overrun += outcome.overruns > 0
        self.worst = max(self.worst, outcome.worst)
        self.said_late += outcome.said_late
        self.slowest = max(self.slowest, outcome.converged_after or 0.0)
        if outcome.smallest:
            self.smallest = min(outcome.smallest, self.smallest or outcome.smallest)
        for name in ("time_over", "allocated", "held", "jain", "restarts", "writes"):
            self._sums[name] = self._sums.get(name, 0.0) + getattr(outcome, name)
        if outcome.quiet_share is not None:
            self._sums["quiet"] = self._sums.get("quiet", 0.0) + outcome.quiet_share
            self._sums["quiet_jain"] = self._sums.get("quiet_jain", 0.0) + (outcome.quiet_jain or 0.0)
        if self.is_failure(outcome):
            self.failed.append(outcome)

    def is_failure(self, outcome: Outcome) -> bool:
        """Whether a run did what must not be: inside the assumptions an overrun, anywhere a complaint."""
        if self.policy is not Policy.POOLBUDGET:
            return False
        return bool(outcome.problems) or (self.scenario.inside_assumptions and outcome.overruns > 0)

    def mean(self, name: str) -> float:
        """The mean of a figure over all runs."""
        return self._sums.get(name, 0.0) / max(1, self.schedules)


@dataclass(frozen=True, slots=True)
class _Job:
    scenario: Scenario
    policy: Policy
    seeds: tuple[int, ...]


def run_all(
    scenarios: Sequence[Scenario],
    policies: Sequence[Policy],
    seeds: Sequence[int],
    progress: Callable[[int], None],
    processes: int | None = None,
) -> list[Summary]:
    """Run every scenario under every policy with every seed; `progress` hears of each finished run."""
    summaries = {
        (scenario.name, policy): Summary(scenario, policy)
        for scenario in scenarios
        for policy in policies_for(scenario, policies)
    }
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        jobs = list(_jobs(scenarios, policies, seeds))
        for job, outcomes in zip(jobs, pool.map(_work, jobs), strict=True):
            for outcome in outcomes:
                summaries[job.scenario.name, job.policy].add(outcome)
                progress(1)
    return list(summaries.values())


def _jobs(scenarios: Sequence[Scenario], policies: Sequence[Policy], seeds: Sequence[int]) -> Iterator[_Job]:
    for scenario in scenarios:
        for policy in policies_for(scenario, policies):
            for start in range(0, len(seeds), _CHUNK):
                yield _Job(scenario, policy, tuple(seeds[start : start + _CHUNK]))


def _work(job: _Job) -> list[Outcome]:
    outcomes = []
    for seed in job.seeds:
        outcome = Run(schedule(job.scenario, seed), job.policy, seed).play()
        if outcome.is_good:
            # Traces of good runs are of no use, and many.
            outcome.trace, outcome.course = [], []
        outcomes.append(outcome)
    return outcomes


def shortest_failure(scenario: Scenario, seed: int) -> Outcome:
    """The failing run of a seed with as little around it as still fails.

    Actions are left out one by one, then churn and each kind of fault; what still fails without is kept
    out. A run that fails only with everything comes back as it is.
    """
    best = Run(scenario, Policy.POOLBUDGET, seed).play()
    for smaller in _smaller(scenario):
        outcome = Run(smaller, Policy.POOLBUDGET, seed).play()
        if not outcome.is_good and len(outcome.trace) < len(best.trace):
            return shortest_failure(smaller, seed)
    return best


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    yield scenario.model_copy(update={"duration": scenario.duration / 2})
    for index in range(len(scenario.actions)):
        actions = [item for position, item in enumerate(scenario.actions) if position != index]
        yield scenario.model_copy(update={"actions": actions})
    if len(scenario.targets) > 1 and not scenario.actions:
        for index in range(len(scenario.targets)):
            targets = [item for position, item in enumerate(scenario.targets) if position != index]
            yield scenario.model_copy(update={"targets": targets})
    for fault in (
        *("crash_per_minute", "stall_per_minute", "crash_per_write"),
        *("lost_reply", "lost", "late", "dropped_events"),
    ):
        if getattr(scenario.faults, fault):
            yield scenario.model_copy(update={"faults": scenario.faults.model_copy(update={fault: 0.0})})
