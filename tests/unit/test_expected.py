"""How many pods a target must be ready for."""

import pytest

from poolbudget.planning.expected import ComingPods, coming_pods, next_step
from poolbudget.planning.inputs import (
    Autoscaler,
    Charge,
    Pod,
    PodStage,
    ReserveFor,
    RolloutLimit,
    ScalingPolicy,
    SelectPolicy,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
)


def pods(running: int = 0, terminating: int = 0) -> tuple[Pod, ...]:
    stages = [PodStage.RUNNING] * running + [PodStage.TERMINATING] * terminating
    return tuple(Pod(str(index), f"pod-{index}", stage, Charge(0)) for index, stage in enumerate(stages))


def target(workload: Workload | None, present: tuple[Pod, ...] = ()) -> Target:
    return Target(TargetKey("Deployment", "api"), TargetBounds(), workload, present)


@pytest.mark.parametrize(
    ("replicas", "policies", "select", "expected"),
    [
        (3, None, SelectPolicy.MAX, 6),  # no behavior: twice as many
        (1, None, SelectPolicy.MAX, 4),  # or four
        (3, (), SelectPolicy.MAX, 7),  # default behavior: + 4
        (10, (), SelectPolicy.MAX, 20),  # or + 100 %
        (3, (ScalingPolicy("Pods", 2),), SelectPolicy.MAX, 5),
        (3, (ScalingPolicy("Percent", 10),), SelectPolicy.MAX, 4),  # rounded up
        (10, (ScalingPolicy("Pods", 2), ScalingPolicy("Percent", 50)), SelectPolicy.MIN, 12),
        (10, (ScalingPolicy("Pods", 2),), SelectPolicy.DISABLED, 10),
        (25, None, SelectPolicy.MAX, 30),  # never above maxReplicas
        (0, None, SelectPolicy.MAX, 0),  # switched off
        (40, None, SelectPolicy.MAX, 40),  # scaled by hand beyond the maximum
    ],
)
def test_one_step_of_the_autoscaler(
    replicas: int, policies: tuple[ScalingPolicy, ...] | None, select: SelectPolicy, expected: int
) -> None:
    assert next_step(Autoscaler(1, 30, policies, select), replicas) == expected


def test_a_raised_minimum_is_reached_in_one_step() -> None:
    assert next_step(Autoscaler(20, 30), 3) == 20


@pytest.mark.parametrize(
    ("reserve_for", "expected"),
    [
        (ReserveFor.CURRENT_PODS, ComingPods(0, 27)),
        (ReserveFor.NEXT_STEP, ComingPods(3, 24)),
        (ReserveFor.MAX_REPLICAS, ComingPods(27, 0)),
    ],
)
def test_reserve_for(reserve_for: ReserveFor, expected: ComingPods) -> None:
    scaled = target(Workload(3, RolloutLimit(0), Autoscaler(3, 30)), pods(3))
    assert coming_pods(scaled, reserve_for) == expected


QUARTER = RolloutLimit(25, percent=True)


def test_room_for_a_rollout_is_kept() -> None:
    """8 pods: a surge of 2, a wave of 2 + 2 beside those that end for it, and the rest at their floor."""
    workload = Workload(8, QUARTER, max_unavailable=QUARTER, waves=31)
    assert coming_pods(target(workload, pods(8)), ReserveFor.NEXT_STEP) == ComingPods(2 + 4, 4)


def test_one_wave_where_old_pods_end_before_the_next() -> None:
    workload = Workload(8, QUARTER, max_unavailable=QUARTER, waves=1)
    assert coming_pods(target(workload, pods(8)), ReserveFor.NEXT_STEP) == ComingPods(2 + 4, 0)


def test_terminating_pods_never_make_room_for_scaling() -> None:
    """30 pods at 25 %: counted as used up, terminating ones let 170 of 155 be promised."""
    workload = Workload(30, QUARTER, max_unavailable=QUARTER, waves=31)
    before = coming_pods(target(workload, pods(30)), ReserveFor.NEXT_STEP)
    assert before == ComingPods(8 + 15, 15)
    in_rollout = coming_pods(target(workload, pods(23, terminating=7)), ReserveFor.NEXT_STEP)
    assert in_rollout == ComingPods(7 + 8 + 8, 15, missing=7)


def test_a_rollout_that_is_under_way_starts_its_surge() -> None:
    workload = Workload(8, QUARTER, waves=31)
    both = (*pods(8), Pod("new", "new", PodStage.STARTING, Charge(0), template="v2"))
    assert coming_pods(target(workload, both), ReserveFor.CURRENT_PODS).starting == 1


def test_a_stateful_set_replaces_in_place() -> None:
    assert coming_pods(target(Workload(3, RolloutLimit(0)), pods(3)), ReserveFor.NEXT_STEP) == ComingPods(
        0, 0
    )


def test_a_missing_or_empty_workload_is_ready_for_the_first_pods() -> None:
    for unseen in (target(None), target(Workload(0, QUARTER))):
        assert coming_pods(unseen, ReserveFor.NEXT_STEP).starting == 4
        assert coming_pods(unseen, ReserveFor.CURRENT_PODS).starting == 1


def test_a_rollout_goes_on_at_the_same_size_while_old_pods_end_in_time() -> None:
    """3 pods: 5 at the most live or end at any time, so each may have the same as before."""
    workload = Workload(3, QUARTER, max_unavailable=QUARTER, waves=31)
    assert coming_pods(target(workload, pods(3)), ReserveFor.NEXT_STEP).starting == 2
    assert coming_pods(target(workload, pods(4)), ReserveFor.NEXT_STEP).starting == 1
    assert coming_pods(target(workload, pods(4, terminating=1)), ReserveFor.NEXT_STEP).starting == 0


def test_pods_of_a_deleted_workload_are_not_replaced() -> None:
    assert coming_pods(target(None, pods(terminating=4)), ReserveFor.NEXT_STEP) == ComingPods(0, 0)
