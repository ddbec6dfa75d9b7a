"""How many pods a target must be ready for."""

import pytest

from poolbudget.planning.expected import expected_pods, next_step
from poolbudget.planning.inputs import (
    Autoscaler,
    MaxSurge,
    Pod,
    PodStage,
    ReserveFor,
    ScalingPolicy,
    SelectPolicy,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
)


def pods(running: int = 0, terminating: int = 0) -> tuple[Pod, ...]:
    stages = [PodStage.RUNNING] * running + [PodStage.TERMINATING] * terminating
    return tuple(Pod(str(index), f"pod-{index}", stage) for index, stage in enumerate(stages))


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
    [(ReserveFor.CURRENT_PODS, 3), (ReserveFor.NEXT_STEP, 6), (ReserveFor.MAX_REPLICAS, 30)],
)
def test_reserve_for(reserve_for: ReserveFor, expected: int) -> None:
    scaled = target(Workload(3, MaxSurge(0), Autoscaler(3, 30)), pods(3))
    assert expected_pods(scaled, reserve_for) == expected


def test_surge_and_terminating_pods_come_on_top() -> None:
    workload = Workload(8, MaxSurge(25, percent=True))
    assert expected_pods(target(workload, pods(8)), ReserveFor.NEXT_STEP) == 10
    assert expected_pods(target(workload, pods(8, terminating=3)), ReserveFor.NEXT_STEP) == 13


def test_pods_that_are_more_than_asked_for_count() -> None:
    assert expected_pods(target(Workload(3, MaxSurge(0)), pods(9)), ReserveFor.CURRENT_PODS) == 9


def test_a_missing_or_empty_workload_is_ready_for_its_first_pod() -> None:
    assert expected_pods(target(None), ReserveFor.NEXT_STEP) == 1
    assert expected_pods(target(Workload(0, MaxSurge(25, percent=True))), ReserveFor.NEXT_STEP) == 1


def test_pods_of_a_deleted_workload_count_until_they_are_gone() -> None:
    assert expected_pods(target(None, pods(terminating=4)), ReserveFor.NEXT_STEP) == 4
