"""Pods that follow their shares: the bound, all of usable in use, and that each guard is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from poolbudget.planning import in_place
from poolbudget.planning.in_place import Grant, Told
from poolbudget.planning.inputs import Applied, Pod
from poolbudget.planning.plan import Plan
from poolbudget.simulation import view
from poolbudget.simulation.pools import Pools
from poolbudget.simulation.run import Policy, Run
from poolbudget.simulation.scenario import Scenario, builtin, parse
from poolbudget.simulation.suite import schedule
from poolbudget.simulation.surroundings import SimulatedSurroundings
from poolbudget.simulation.view import View
from poolbudget.simulation.world import Pool, SimulatedPod, World

NAMES = ("in-place", "in-place-churn")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_exceeds_usable_and_in_quiet_all_of_it_is_in_use(name: str, seed: int) -> None:
    outcome = Run(schedule(builtin(name), seed), Policy.POOLBUDGET, seed).play()
    assert (outcome.overruns, outcome.problems) == (0, [])
    assert outcome.quiet_share is not None
    assert outcome.quiet_share >= 0.99
    assert outcome.quiet_jain is not None
    assert outcome.quiet_jain >= 0.95


STEP = """
name: step
usable: 155
duration: 120
targets:
- name: api
  replicas: 3
  autoscaler: {minReplicas: 3, maxReplicas: 12}
  terminating: [0.5, 3]
  inPlace: true
actions:
- {at: 40, do: scale, to: 12}
"""


def revisions(scenario: Scenario, since: float, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many shares each pod was told after a time."""
    told: Counter[str] = Counter()
    telling = World.tell

    def watched(world: World, pod: SimulatedPod, expected: Grant | None, grant: Grant) -> int:
        version = telling(world, pod, expected, grant)
        if world.now() >= since and (expected is None or grant.revision != expected.revision):
            told[pod.uid] += 1
        return version

    monkeypatch.setattr(World, "tell", watched)
    assert Run(scenario, Policy.POOLBUDGET, 0).play(aftermath=False).overruns == 0
    return told


def test_few_revisions_for_a_step_up_and_down(monkeypatch: pytest.MonkeyPatch) -> None:
    up = revisions(parse(STEP, "here"), 40, monkeypatch)
    assert len(up) == 12
    assert max(up.values()) <= 2, up
    down = STEP.replace("  replicas: 3\n", "  replicas: 12\n").replace("to: 12", "to: 3")
    assert max(revisions(parse(down, "here"), 40, monkeypatch).values()) <= 3


def exceeds(name: str, seeds: range) -> bool:
    """Whether any of the schedules does."""
    runs = (Run(builtin(name), Policy.POOLBUDGET, seed) for seed in seeds)
    return any(run.play(aftermath=False).overruns for run in runs)


def only_the_newest(grant: Grant, applied: Applied) -> tuple[Told, ...] | None:
    return grant.told[-1:]


def nobody_has_ended(*_: Any) -> list[tuple[str, Pod]]:
    return []


def say_at_once(pools: Pools, pod: SimulatedPod, pool: Pool, grant: Grant) -> None:
    OBEY(pools, pod, pool, grant)
    if pool in pod.pools and pool.revision == grant.revision:
        pool.said = max(pool.said, (pool.revision, pool.cap))


def go_back(pools: Pools, pod: SimulatedPod, pool: Pool, grant: Grant) -> None:
    if pool in pod.pools:
        pool.revision = min(pool.revision, grant.revision - 1)
    OBEY(pools, pod, pool, grant)


OBEY = Pools._obey


@pytest.mark.parametrize(
    ("where", "what", "instead"),
    [
        (in_place, "still_obeyed", only_the_newest),
        (view, "_ended", nobody_has_ended),
        (Pools, "_obey", say_at_once),
        (Pools, "_obey", go_back),
    ],
    ids=[
        "only the share told last is charged",
        "a pod's charge ends with its processes",
        "a share is said to be applied before the connections fit",
        "an older share is obeyed again",
    ],
)
def test_each_guard_is_needed(
    monkeypatch: pytest.MonkeyPatch, where: Any, what: str, instead: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, what, instead)
    assert exceeds("in-place", range(8)) or exceeds("in-place-churn", range(12))


FROZEN = """
name: frozen
usable: 155
duration: 150
targets:
- name: api
  replicas: 3
  autoscaler: {minReplicas: 3, maxReplicas: 6}
  terminating: [0.5, 3]
  inPlace: true
actions:
- {at: 40, do: freeze, to: 1}
- {at: 60, do: scale, to: 6}
"""


def beside_a_frozen_pod() -> tuple[float, bool]:
    """What is open in the end, as a part of usable, and whether any pod is still to grow."""
    run = Run(parse(FROZEN, "here"), Policy.POOLBUDGET, 1)
    waits = []
    watching = run.operators[0]._in_force

    def watch(seen: View, decided: Plan, made: SimulatedSurroundings) -> None:
        waits.append(any(share.waits_to_grow for share in decided.shares))
        watching(seen, decided, made)

    run.operators[0]._in_force = watch  # type: ignore[method-assign]
    assert run.play(aftermath=False).overruns == 0
    return run.world.open / run.world.usable, waits[-1]


def test_a_pod_that_says_nothing_is_dealt_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps what it may hold, and the others share the rest; else they would wait for it forever."""
    open_, waits = beside_a_frozen_pod()
    assert (open_ >= 0.95, waits) == (True, False)
    monkeypatch.setattr(in_place, "is_pinned", lambda *_: False)
    assert beside_a_frozen_pod()[1]
