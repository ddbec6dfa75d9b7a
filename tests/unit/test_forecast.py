"""What the next rollout may come to."""

from dataclasses import replace

from poolbudget.planning import (
    Autoscaler,
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    PoolSizes,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
    plan,
)
from poolbudget.planning.forecast import Forecast, forecast

KEY = TargetKey("Deployment", "api")
QUARTER = RolloutLimit(25, percent=True)


def target(pods: int, held: int, workload: Workload) -> Target:
    charged = Charge(held, held, PodCost(1, 0))
    present = tuple(Pod(str(index), str(index), PodStage.RUNNING, charged) for index in range(pods))
    return Target(KEY, TargetBounds(), workload, present, PoolSizes(held, 0))


def test_the_first_wave_starts_with_what_is_published_and_the_rest_with_the_floor() -> None:
    """4 pods hold 20; 1 more by the surge, 4 that replace them: 1 + 2 start at once, 2 later."""
    api = target(4, 20, Workload(4, QUARTER, max_unavailable=QUARTER, waves=31))
    decided = plan(Inputs(155, (api,), may_raise=False))
    expected = forecast(api, decided, 155)
    assert expected is not None
    assert decided.allocated == 80
    assert expected.worst == 80 + 3 * 20 + 2 * 1
    assert expected.largest_safe_surge == 1


def test_a_surge_that_is_too_large_is_told_before_it_happens() -> None:
    """4 pods hold 36 of 150: 4 of them end while 4 + 4 come at their floor, and only 4 + 2 fit."""
    api = target(4, 36, Workload(4, RolloutLimit(100, percent=True), waves=31))
    decided = plan(Inputs(150, (api,), may_raise=False))
    assert forecast(api, decided, 150) == Forecast(worst=152, largest_safe_surge=2)
    safe = replace(api, workload=Workload(4, RolloutLimit(2), waves=31))
    assert forecast(safe, decided, 150) == Forecast(worst=150, largest_safe_surge=2)


def test_it_looks_as_far_as_the_autoscaler_may_go() -> None:
    fixed = Workload(4, QUARTER, max_unavailable=QUARTER, waves=31)
    scaled = replace(fixed, autoscaler=Autoscaler(4, 20))
    worst = []
    for workload in (fixed, scaled):
        api = target(4, 5, workload)
        found = forecast(api, plan(Inputs(155, (api,), may_raise=False)), 155)
        assert found is not None
        worst.append(found.worst)
    # 16 more pods, 4 more by the surge and 16 more that are replaced, at their floor.
    assert worst[1] == worst[0] + 16 + 4 + 16


def test_where_nothing_overlaps_there_is_nothing_to_tell() -> None:
    api = target(4, 20, Workload(4, RolloutLimit(0)))
    assert forecast(api, plan(Inputs(155, (api,))), 155) is None


def test_where_no_surge_is_safe() -> None:
    api = target(4, 38, Workload(4, RolloutLimit(1), waves=31))
    found = forecast(api, plan(Inputs(155, (api,), may_raise=False)), 155)
    assert found is not None
    assert found.largest_safe_surge is None
