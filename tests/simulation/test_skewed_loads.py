"""Shares by demand: 100 skewed cases beside the best there is, and the bound while loads change."""

from __future__ import annotations

import math

import pytest

from poolbudget.simulation import demand
from poolbudget.simulation.demand import Load, Result, best_caps, mean_wait, play, skewed_cases
from poolbudget.simulation.run import Policy, Run
from poolbudget.simulation.scenario import builtin
from poolbudget.simulation.suite import schedule


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [play(case, seed) for seed, case in enumerate(skewed_cases(100))]


def test_no_pool_is_saturated_where_equal_shares_saturate_most(results: list[Result]) -> None:
    assert sum(item.saturated(item.equal) > 0 for item in results) >= 90
    assert not any(item.saturated(caps) for item in results for caps in item.by_demand)


def test_the_mean_wait_is_near_the_least_there_is(results: list[Result]) -> None:
    """Of all cases together; a single one, where hardly anybody waits, may be worse."""
    waits = sum(item.mean_wait_by_demand() for item in results)
    assert waits <= 1.1 * sum(item.mean_wait(item.best) for item in results)
    assert all(item.mean_wait_by_demand() <= 1.5 * item.mean_wait(item.best) for item in results)


def test_chance_alone_hardly_ever_changes_shares(results: list[Result]) -> None:
    """In the last five minutes, with 60 looks."""
    changes = sorted(item.changes for item in results)
    assert changes[50] <= 3
    assert changes[-1] <= 8


def test_it_comes_to_rest_also_where_there_is_hardly_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a saturated pool would use is not seen: what is tried must not change more than once a minute."""
    for utilization in ((0.55, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99)):
        monkeypatch.setattr(demand, "_UTILIZATION", utilization)
        exact = [play(case, in_use=min) for case in skewed_cases(20)]
        assert max(item.changes for item in exact) <= 5


def test_many_small_pods_take_nothing_from_one_that_is_busy() -> None:
    """What chance adds to each of many must not add up: 50 and 36 in use, of 155."""
    result = play((Load(1, 50.0), Load(60, 0.6)))
    assert not any(result.saturated(caps) for caps in result.by_demand)


def test_the_best_is_the_best_of_all() -> None:
    """Against all caps, for a few targets of one pod."""
    loads = (Load(1, 20.5), Load(1, 60.2), Load(1, 3.3))
    result = Result(loads, (), (), best_caps(loads))
    tried = ((one, two, demand.USABLE - one - two) for one in range(21, 100) for two in range(61, 150 - one))
    least = min(result.mean_wait(caps) for caps in tried if caps[2] > 3)
    assert result.mean_wait(result.best) == pytest.approx(least)


def test_erlangs_formula() -> None:
    """M/M/1 waits load / (1 - load); two servers at load 1 wait a third of a service time."""
    assert mean_wait(1, 0.5) == pytest.approx(1.0)
    assert mean_wait(2, 1.0) == pytest.approx(1 / 3)
    assert mean_wait(3, 3.0) == math.inf


@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_exceeds_usable_while_loads_change(seed: int) -> None:
    outcome = Run(schedule(builtin("in-place-demand"), seed), Policy.POOLBUDGET, seed).play()
    assert (outcome.overruns, outcome.problems) == (0, [])
    assert outcome.quiet_share is not None
    assert outcome.quiet_share >= 0.99
