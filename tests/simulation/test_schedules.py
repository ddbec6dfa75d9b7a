"""Random schedules: the incidents by name, the faults, and that a missing guard is found."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from poolbudget.planning import charges, expected
from poolbudget.planning.charges import Assumptions, PodFacts
from poolbudget.planning.history import History
from poolbudget.planning.inputs import Charge, PoolSizes, Workload
from poolbudget.planning.plan import Fit
from poolbudget.simulation.engine import Network, NoAnswer, Request, Simulation, Task
from poolbudget.simulation.kubernetes import Lags
from poolbudget.simulation.operator import SimulatedOperator
from poolbudget.simulation.run import Policy, Run
from poolbudget.simulation.scenario import Scenario, builtin, builtin_names, parse
from poolbudget.simulation.suite import FAULTS, run_all, schedule, shortest_failure
from poolbudget.simulation.world import World

INCIDENTS = [
    "surge-fourth-pod",
    "shared-neighbours",
    "blue-green-cutover",
    "estimate-too-high",
    "five-replicas",
    "second-pool",
    "rollout-stalls",
    "ten-to-hundred",
    "old-and-new-tasks",
    "seven-pods",
    "pooler-replicas",
    "workers-env",
    "make-before-break",
    "terminating-double",
    "refused-upgrade",
]


@pytest.mark.parametrize("name", INCIDENTS)
def test_incidents(name: str) -> None:
    """What happened to people happens to the formula, and not to PoolBudget, faults or none."""
    scenario = builtin(name)
    assert Run(scenario, Policy.FORMULA, 0).play().overruns > 0
    if any(target.fixed_cap for target in scenario.targets):
        assert Run(scenario, Policy.AS_REPORTED, 0).play().overruns > 0
    for seed in range(2):
        for each in (scenario, scenario.model_copy(update={"faults": FAULTS})):
            outcome = Run(each, Policy.POOLBUDGET, seed).play()
            assert (outcome.overruns, outcome.problems) == (0, [])


def test_too_small() -> None:
    """The other side: 160 pods wait with a pool of 5 each, and the database idles."""
    scenario = builtin("too-small")
    small = Run(scenario, Policy.AS_REPORTED, 0).play()
    fair = Run(scenario, Policy.POOLBUDGET, 0).play()
    assert small.held < 0.25
    assert fair.held > 0.8
    assert fair.smallest > 4 * small.smallest


@pytest.mark.parametrize("name", [name for name in builtin_names() if name.startswith("outside-")])
def test_outside_the_assumptions_it_says_so_and_settles(name: str) -> None:
    outcome = Run(builtin(name), Policy.POOLBUDGET, 0).play()
    assert outcome.overruns > 0, "this is what the scenario is for"
    assert outcome.problems == []
    if name in ("outside-jump", "outside-usable-lowered"):
        # What can be seen is said at the first look. A kubelet's blindness cannot, nor a pod that lives
        # on after its quarantine.
        assert outcome.said_late == 0


def test_nothing_grows_until_it_fits_again(monkeypatch: pytest.MonkeyPatch) -> None:
    grown: list[str] = []
    writing = World.write_config_map

    def watched(world: World, name: str, version: int | None, sizes: PoolSizes, history: History) -> int:
        before = world.config_maps.get(name)
        if before is not None and sizes.cap > before.sizes.cap and world.open > world.usable:
            grown.append(f"{name}: {before.sizes} -> {sizes}")
        return writing(world, name, version, sizes, history)

    monkeypatch.setattr(World, "write_config_map", watched)
    assert Run(builtin("outside-jump"), Policy.POOLBUDGET, 1).play().overruns > 0
    assert grown == []


def test_a_pod_whose_loss_is_noticed_late_is_waited_for() -> None:
    """Its deletion was missed, and found by a list after the last fault: only then does its time begin."""
    outcome = Run(schedule(builtin("faults"), 31), Policy.POOLBUDGET, 31).play()
    assert outcome.problems == []
    assert outcome.converged_after is not None
    assert outcome.converged_after > Assumptions().quarantine


@pytest.mark.parametrize("name", ["churn", "churn-400"])
def test_churn_uses_more_than_a_static_peak_allows_for(name: str) -> None:
    """Seeds differ by 0.03, so that it takes some to tell the mean."""
    outcomes = [Run(builtin(name), Policy.POOLBUDGET, seed).play() for seed in range(6)]
    assert sum(outcome.allocated for outcome in outcomes) / 6 >= 0.45
    for outcome in outcomes:
        assert outcome.quiet_share is not None
        assert outcome.quiet_share >= 0.97


def test_quiet_means_all_of_it_in_use_and_evenly() -> None:
    for seed in range(3):
        outcome = Run(builtin("step-by-step"), Policy.POOLBUDGET, seed).play()
        assert outcome.quiet_share is not None
        assert outcome.quiet_share >= 0.97
        assert outcome.quiet_jain is not None
        assert outcome.quiet_jain >= 0.99


def scenario_of(text: str) -> Scenario:
    return parse(textwrap.dedent(text), "here")


def overrun(scenario: Scenario, seeds: range) -> int | None:
    """The first seed whose schedule exceeds usable."""
    for seed in seeds:
        if Run(scenario, Policy.POOLBUDGET, seed).play(aftermath=False).overruns:
            return seed
    return None


def _terminating_for_nothing(*arguments: Any) -> Charge:
    found = _charge(*arguments)
    facts: PodFacts = arguments[0]
    return replace(found, connections=0, next=None) if facts.deleted is not None else found


_charge = charges.charge


def _terminating_as_room(workload: Workload, terminating: int) -> int:
    """What terminates would make room for what comes."""
    return -terminating


TIGHT = range(25, 40)
"""Schedules of `tight` that exceed usable without one or the other rule, and never with all of them."""


SCALED = scenario_of(
    """
    name: scaled
    usable: 8
    reserveFor: CurrentPods
    targets: [{name: a, replicas: 1, autoscaler: {maxReplicas: 4}, recreate: true, terminating: [1, 2]}]
    actions: [{at: 60, do: scale, to: 4}]
    """
)

DRAINED = scenario_of(
    """
    name: drained
    usable: 12
    reserveFor: CurrentPods
    targets: [{name: a, replicas: 4, recreate: true, terminating: [10, 20], starting: [0.5, 2]}]
    actions: [{at: 60, do: delete, to: 4}]
    """
)
"""All pods end while as many come: found by a long suite, when nothing was kept for that."""


def test_with_all_rules_nothing_is_found() -> None:
    assert overrun(builtin("tight"), TIGHT) is None
    assert overrun(SCALED, range(3)) is None
    for seed in range(5):
        assert Run(DRAINED, Policy.POOLBUDGET, seed).play().is_good


@pytest.mark.parametrize(
    ("scenario", "seeds", "module", "name", "instead"),
    [
        (builtin("terminating-double"), range(3), charges, "charge", _terminating_for_nothing),
        (DRAINED, range(5), expected, "_replaceable", lambda *_: 0),
        (DRAINED, range(5), expected, "_replaceable", _terminating_as_room),
    ],
    ids=["terminating pods count", "room for what replaces them", "they are no room for others"],
)
def test_a_missing_rule_is_found(
    monkeypatch: pytest.MonkeyPatch,
    scenario: Scenario,
    seeds: range,
    module: Any,
    name: str,
    instead: Callable[..., Any],
) -> None:
    assert overrun(scenario, seeds) is None
    monkeypatch.setattr(module, name, instead)
    assert overrun(scenario, seeds) is not None


def test_room_has_to_be_kept_for_possible_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "_possible_new", lambda *_: 0)
    monkeypatch.setattr(expected, "_replaceable", lambda *_: 0)
    assert overrun(SCALED, range(3)) is not None


def test_lost_pods_have_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = builtin("outside-force-delete").model_copy(
        update={
            "inside_assumptions": True,
            "actions": [
                action.model_copy(update={"seconds": 200.0})
                for action in builtin("outside-force-delete").actions
            ],
            "duration": 250.0,
        }
    )
    crash = scenario.actions[1].model_copy(update={"at": 150.0})
    scenario = scenario.model_copy(update={"actions": [scenario.actions[0], crash]})
    assert overrun(scenario, range(3)) is None
    monkeypatch.setattr(SimulatedOperator, "_lose", lambda self, facts: self._pods.pop(facts.uid, None))
    assert overrun(scenario, range(3)) is not None


def test_a_failure_is_made_small_and_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "_possible_new", lambda *_: 0)
    monkeypatch.setattr(expected, "_replaceable", lambda *_: 0)
    seed = overrun(builtin("tight"), TIGHT)
    assert seed is not None
    whole = Run(builtin("tight"), Policy.POOLBUDGET, seed).play()
    small = shortest_failure(builtin("tight"), seed)
    assert not small.is_good
    assert len(small.trace) <= len(whole.trace)
    assert Run(builtin("tight"), Policy.POOLBUDGET, seed).play().trace == whole.trace


def test_runs_on_several_cores_say_the_same_as_on_one() -> None:
    progress: list[int] = []
    [summary] = run_all([builtin("five-replicas")], [Policy.POOLBUDGET], range(6), progress.append, 2)
    alone = [
        Run(schedule(builtin("five-replicas"), seed), Policy.POOLBUDGET, seed).play() for seed in range(6)
    ]
    assert sum(progress) == summary.schedules == 6
    assert summary.worst == max(outcome.worst for outcome in alone)
    assert summary.mean("writes") == sum(outcome.writes for outcome in alone) / 6


@pytest.mark.parametrize(
    ("network", "arrives", "answered"),
    [
        (Network(), True, True),
        (Network(lost=1.0), False, False),
        (Network(lost_reply=1.0), True, False),
        (Network(late=1.0), True, False),
    ],
    ids=["well", "lost", "reply lost", "late"],
)
def test_what_may_become_of_a_write(network: Network, arrives: bool, answered: bool) -> None:
    simulation = Simulation(1)
    arrived: list[float] = []
    heard: list[BaseException | None] = []

    async def write() -> None:
        await Request(lambda: arrived.append(simulation.now), is_write=True)

    Task(simulation, write(), lambda: network, heard.append)
    simulation.run(200.0)
    assert bool(arrived) == arrives
    assert [type(error) for error in heard] == [type(None) if answered else NoAnswer]
    if network.late:
        assert arrived[0] >= network.timeout


def test_the_operator_says_that_it_may_exceed_before_it_grows() -> None:
    told: list[Fit] = []
    run = Run(builtin("outside-usable-lowered"), Policy.POOLBUDGET, 0)
    for operator in run.operators:
        operator._told = told.append
    run.play(aftermath=False)
    assert Fit.EXCEEDS in told
    assert told[-1] is Fit.FITS


def test_assumptions_and_lags_can_be_chosen() -> None:
    strict = Assumptions(kubelet_lag=5.0, status_lag=30.0, clock_skew=1.0)
    lags = Lags(kubelet=4.9, status=29.0)
    assert Run(builtin("tight"), Policy.POOLBUDGET, 0, strict, lags).play(aftermath=False).overruns == 0
