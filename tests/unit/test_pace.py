"""Holding back what keeps changing."""

from dataclasses import replace

import pytest

from poolbudget.pace import Pace, may_grow_at_once, pause_after_conflict
from poolbudget.planning import (
    Charge,
    Inputs,
    Pod,
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
from poolbudget.planning.inputs import PodShare


def test_a_stable_wish_is_due_after_its_time() -> None:
    pace: Pace[str] = Pace(5, 30)
    assert pace.seconds_until_due("a", "x", now=100) == 5
    assert pace.seconds_until_due("a", "x", now=104) == 1
    assert pace.seconds_until_due("a", "x", now=105) == 0


def test_a_changing_wish_starts_anew_but_not_for_ever() -> None:
    pace: Pace[str] = Pace(5, 30)
    assert pace.seconds_until_due("a", 0, now=0) == 5
    for second in range(4, 28, 4):
        assert pace.seconds_until_due("a", second, now=second) == 5
    assert pace.seconds_until_due("a", 28, now=28) == 2
    assert pace.seconds_until_due("a", 30, now=30) == 0


def test_keys_are_apart_and_forgotten_ones_start_anew() -> None:
    pace: Pace[str] = Pace(5, 30)
    pace.seconds_until_due("a", "x", now=0)
    assert pace.seconds_until_due("b", "x", now=4) == 5
    pace.forget("a")
    assert pace.seconds_until_due("a", "x", now=4) == 5


def test_pauses_after_conflicts_grow_and_differ() -> None:
    assert pause_after_conflict(1, 0.5) == 0.0
    assert pause_after_conflict(2, 1.0) == 0.2
    assert pause_after_conflict(2, 0.0) == 0.1
    assert pause_after_conflict(10_000, 1.0) == 10.0


def in_place(*pods: Pod) -> Inputs:
    key = TargetKey("Deployment", "api")
    workload = Workload(len(pods), RolloutLimit(0))
    target = Target(key, TargetBounds(), workload, pods, PoolSizes(1, 0), is_in_place=True)
    return Inputs(100, (target,), ReserveFor.CURRENT_PODS)


def running(uid: str, told: int | None, *, held: int = 0, stage: PodStage = PodStage.RUNNING) -> Pod:
    sizes = None if told is None else PoolSizes(told, 0)
    share = PodShare(sizes, is_acknowledged=not held)
    return Pod(uid, uid, stage, Charge(held or told or 1), share=share)


@pytest.mark.parametrize(
    ("pods", "at_once"),
    [
        ((running("a", 10), running("b", 10)), True),
        ((running("a", 10), running("b", 10, held=40)), False),
        ((running("a", 10, held=40), running("new", None)), True),
        ((running("a", 10), running("b", 10, stage=PodStage.TERMINATING)), False),
        ((running("a", 10), running("b", 10, stage=PodStage.ENDED)), False),
    ],
    ids=[
        "all have answered",
        "one has not",
        "a pod that was told nothing",
        "one ends",
        "one's connections are left",
    ],
)
def test_shares_grow_once_and_not_with_every_pod_that_answers(pods: tuple[Pod, ...], at_once: bool) -> None:
    inputs = in_place(*pods)
    decided, wanted = plan(replace(inputs, may_grow=False)), plan(inputs)
    assert wanted.allocated > decided.allocated
    assert may_grow_at_once(inputs, decided, wanted) is at_once
