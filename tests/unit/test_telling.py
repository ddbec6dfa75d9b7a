"""Which annotations are written by a plan, once more, and under a claim."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
from poolbudget.planning.in_place import PATIENCE, Grant, pod_share
from poolbudget.planning.inputs import Applied
from poolbudget.planning.plan import Plan
from poolbudget.planning.telling import to_repeat, to_tell, to_touch

KEY = TargetKey("Deployment", "api")
NOW = 1000.0
FIVE = Grant(7, PoolSizes(4, 1), NOW, 5)
DONE, OPEN = Applied(7, 5, 5), Applied(6, 5, 5)


def pod(uid: str, grant: Grant | None, applied: Applied, stage: PodStage = PodStage.RUNNING) -> Pod:
    share = pod_share(grant, applied, NOW, TargetBounds().pod_cost)
    return Pod(uid, uid, stage, Charge(5), share=share)


def target(*pods: Pod) -> Target:
    workload = Workload(len(pods), RolloutLimit(0))
    return Target(KEY, TargetBounds(), workload, pods, PoolSizes(1, 0), is_in_place=True)


def planned(usable: int, *pods: Pod) -> tuple[tuple[Target, ...], Plan]:
    targets = (target(*pods),)
    return targets, plan(Inputs(usable, targets, ReserveFor.CURRENT_PODS))


def test_who_has_his_share_is_told_nothing() -> None:
    targets, decided = planned(10, pod("a", FIVE, DONE), pod("b", FIVE, DONE))
    assert to_tell(targets, decided, {"a": FIVE, "b": FIVE}, 8, NOW) == []


def test_a_telling_says_whether_it_raises() -> None:
    targets, decided = planned(6, pod("a", FIVE, DONE), pod("b", FIVE, DONE))
    told = to_tell(targets, decided, {"a": FIVE, "b": FIVE}, 8, NOW)
    assert [(item.uid, item.grant.revision, item.grant.sizes.cap) for item in told] == [
        ("a", 8, 3),
        ("b", 8, 3),
    ]
    assert [(item.before, item.raises) for item in told] == [(5, False), (5, False)]
    targets, decided = planned(20, pod("a", FIVE, DONE), pod("b", FIVE, DONE))
    assert all(item.raises for item in to_tell(targets, decided, {"a": FIVE, "b": FIVE}, 8, NOW))


def test_what_nobody_has_obeyed_is_written_once_more() -> None:
    targets, decided = planned(10, pod("a", FIVE, OPEN), pod("b", FIVE, DONE))
    grants = {"a": FIVE, "b": FIVE}
    assert to_repeat(targets, decided, grants, NOW + 0.5, NOW + 0.6) == ([], pytest.approx(0.4))
    [again], wait = to_repeat(targets, decided, grants, NOW + 1, NOW + 1.5)
    assert (again.uid, again.grant, again.raises) == ("a", replace(FIVE, touched=1), False)
    assert wait == PATIENCE - 1.5


def test_nobody_has_failed_to_answer_while_nobody_can_look() -> None:
    targets, decided = planned(10, pod("a", FIVE, OPEN), pod("b", FIVE, DONE))
    for seen in (None, NOW - 1, NOW):
        assert to_repeat(targets, decided, {"a": FIVE, "b": FIVE}, seen, NOW + 5)[0] == []


def test_what_is_to_change_or_cannot_be_told_is_not_repeated() -> None:
    targets, decided = planned(6, pod("a", FIVE, OPEN), pod("b", FIVE, OPEN))
    assert to_repeat(targets, decided, {"a": FIVE, "b": FIVE}, NOW + 1, NOW + 1.5) == ([], None)
    targets, decided = planned(10, pod("a", FIVE, OPEN, PodStage.TERMINATING), pod("b", FIVE, DONE))
    assert to_repeat(targets, decided, {"a": FIVE, "b": FIVE}, NOW + 1, NOW + 1.5) == ([], None)


def test_under_a_claim_everybody_is_told_the_same_and_the_untold_the_least() -> None:
    told = to_touch(KEY, ["a", "b"], {"b": Charge(3)}, {"a": FIVE}, 8, NOW)
    assert [item.grant for item in told] == [
        replace(FIVE, touched=1),
        Grant(8, PoolSizes(1, 0), NOW, 3),
    ]
    assert not any(item.raises for item in told)
