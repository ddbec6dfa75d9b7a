"""The plan, with the worked examples that people check by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.planning import (
    Autoscaler,
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    PoolSizes,
    ReserveFor,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
    plan,
)

KEY = TargetKey("Deployment", "api")
ONE_POOL = PodCost(1, 0)


def target(
    pods: int,
    bounds: TargetBounds | None = None,
    published: PoolSizes | None = None,
    name: str = "api",
    workload: Workload | None = None,
    held: int = 0,
) -> Target:
    bounds = bounds or TargetBounds()
    return Target(
        TargetKey("Deployment", name),
        bounds,
        workload or Workload(pods, RolloutLimit(0)),
        tuple(pod(f"{name}-{index}", held, bounds.pod_cost) for index in range(pods)),
        published,
    )


def pod(name: str, held: int = 0, cost: PodCost | None = ONE_POOL, stage: PodStage = PodStage.RUNNING) -> Pod:
    return Pod(name, name, stage, Charge(held, held, cost))


def test_170_connections_15_reserved_3_pods() -> None:
    result = plan(Inputs(155, (target(3),)))
    api = result.target(KEY)
    assert api.fair_cap == 51
    assert api.sizes == PoolSizes(35, 15)
    assert result.allocated == 150
    assert api.arithmetic == "3 pods x (35 + 15) = 150"


def test_683_connections_13_reserved_3_pods_with_two_pools() -> None:
    result = plan(Inputs(670, (target(3, TargetBounds(pools_per_worker=2)),)))
    api = result.target(KEY)
    assert api.fair_cap == 111
    assert api.sizes == PoolSizes(77, 33)
    assert result.allocated == 660


def test_workers_and_extra_connections_cost() -> None:
    bounds = TargetBounds(workers=2, extra_connections=1)
    api = plan(Inputs(100, (target(3, bounds),))).target(KEY)
    assert api.sizes == PoolSizes(12, 4)
    assert api.arithmetic == "3 pods x (2 workers x 1 pools x (12 + 4) + 1 extra) = 99"


def test_lowering_is_told_at_once_and_raising_waits() -> None:
    low = plan(Inputs(155, (target(9, published=PoolSizes(35, 15)),), may_raise=False)).target(KEY)
    assert low.sizes == PoolSizes(12, 5)
    assert not low.waits_to_raise
    held = plan(Inputs(155, (target(3, published=PoolSizes(12, 5)),), may_raise=False))
    assert held.target(KEY).sizes == PoolSizes(12, 5)
    assert held.waits_to_raise
    raised = plan(Inputs(155, (target(3, published=PoolSizes(12, 5)),), may_raise=True))
    assert raised.target(KEY).sizes == PoolSizes(35, 15)
    assert not raised.waits_to_raise


def test_the_first_size_is_a_raise_like_any_other() -> None:
    first = plan(Inputs(155, (target(3),), may_raise=False)).target(KEY)
    assert first.sizes is None
    assert first.start == PoolSizes(35, 15)
    assert first.waits_to_raise


def test_what_pods_hold_is_theirs_until_they_are_gone() -> None:
    """3 pods hold 17 each; 3 more get what is left, never their share of the whole."""
    held = tuple(pod(f"old-{index}", 17) for index in range(3))
    new = tuple(pod(f"new-{index}") for index in range(3))
    mixed = Target(KEY, TargetBounds(), Workload(6, RolloutLimit(0)), (*held, *new), PoolSizes(12, 5))
    result = plan(Inputs(75, (mixed,), may_raise=True))
    api = result.target(KEY)
    assert api.fair_cap == 12
    assert api.sizes == PoolSizes(6, 2)
    assert api.held_back
    assert result.allocated == 3 * 17 + 3 * 8
    assert api.arithmetic == "3 pods x 17 + 3 pods x (6 + 2) = 75"


def test_a_pod_that_starts_nothing_any_more_costs_what_it_holds() -> None:
    ending = pod("ending", 20, None, PodStage.TERMINATING)
    both = Target(KEY, TargetBounds(), Workload(1, RolloutLimit(0)), (pod("new"), ending))
    api = plan(Inputs(100, (both,))).target(KEY)
    assert api.start_cap == 80
    assert api.fair_cap == 100


def test_pods_of_a_former_target_count_until_they_are_gone() -> None:
    former = Target(
        TargetKey("Deployment", "old"),
        TargetBounds(),
        None,
        (pod("left", 30),),
        is_former=True,
    )
    result = plan(Inputs(100, (target(2), former)))
    assert result.target(KEY).start_cap == 35
    assert result.target(TargetKey("Deployment", "old")).sizes is None
    assert result.allocated == 2 * 34 + 30


def test_an_autoscalers_maximum_that_is_far_too_high_does_not_strangle() -> None:
    scaled = target(3, workload=Workload(3, RolloutLimit(0), Autoscaler(3, 400)))
    result = plan(Inputs(155, (scaled,)))
    assert not result.feasible
    assert result.max_pods == 155
    assert result.target(KEY).start_cap == (155 - 77) // 6


def test_floors_that_do_not_fit_are_published_and_said() -> None:
    scaled = target(3, TargetBounds(min_per_pool=3), workload=Workload(3, RolloutLimit(0), Autoscaler(3, 30)))
    result = plan(Inputs(87, (scaled,), ReserveFor.MAX_REPLICAS))
    assert not result.feasible
    assert result.floor_sum == 90
    assert result.max_pods == 29
    assert result.target(KEY).sizes == PoolSizes(3, 0)


def test_before_capacity_is_known() -> None:
    unknown = plan(Inputs(None, (target(3), target(3, TargetBounds(min_per_pool=4), name="floor"))))
    assert unknown.target(KEY).sizes is None
    assert unknown.target(TargetKey("Deployment", "floor")).sizes == PoolSizes(3, 1)
    assert unknown.feasible
    assert unknown.max_pods is None


def test_what_is_published_stays_while_capacity_is_unknown() -> None:
    published = PoolSizes(20, 9)
    kept = plan(Inputs(None, (target(3, TargetBounds(min_per_pool=4), published),)))
    assert kept.target(KEY).sizes == published


def test_an_unknown_target_is_an_error() -> None:
    with pytest.raises(KeyError):
        plan(Inputs(155, (target(3),))).target(TargetKey("Deployment", "other"))


@given(
    usable=st.integers(1, 1000),
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=5),
    percent=st.integers(1, 100),
)
def test_the_expected_pods_fit_at_what_is_published(usable: int, counts: list[int], percent: int) -> None:
    targets = tuple(target(count, name=f"t{index}") for index, count in enumerate(counts))
    result = plan(Inputs(usable, targets, pool_size_percent=percent))
    total = sum((item.pods + item.coming.starting) * item.sizes.cap for item in result.targets if item.sizes)
    assert total <= max(usable, result.floor_sum)
    assert result.feasible == (result.floor_sum <= usable)


@given(usable=st.integers(1, 500), pods=st.integers(1, 30), floor=st.integers(1, 5))
def test_max_pods_fit_and_one_more_does_not(usable: int, pods: int, floor: int) -> None:
    result = plan(Inputs(usable, (target(pods, TargetBounds(min_per_pool=floor)),)))
    assert result.max_pods is not None
    assert result.max_pods * floor <= usable < (result.max_pods + 1) * floor
