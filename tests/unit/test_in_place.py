"""Shares of pods that follow them: charges with their traces, and what each pod is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolbudget.planning import (
    Charge,
    Inputs,
    Plan,
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
from poolbudget.planning.in_place import (
    PATIENCE,
    Applied,
    Grant,
    Told,
    in_place_charge,
    next_grant,
    pod_share,
    touch_due,
    touches_until,
)
from poolbudget.planning.inputs import Autoscaler, PodShare

COST = PodCost(1, 0)
START = Charge(1, 1, COST, "started")
KEY = TargetKey("Deployment", "api")


def grant(*told: int, charged: int = 1, first: int = 1, time: float = 0.0) -> Grant:
    """Told one cap after the other, by revisions from `first`."""
    *earlier, last = told
    return Grant(
        first + len(earlier),
        PoolSizes(last, 0),
        time,
        charged,
        tuple(Told(first + position, cap) for position, cap in enumerate(earlier)),
    )


def charged(found: Grant | None, applied: Applied, cost: PodCost = COST) -> int:
    return in_place_charge(found, START, applied, cost).connections


def test_a_pod_that_was_told_nothing_costs_what_it_starts_with() -> None:
    assert charged(None, Applied()) == 1


@pytest.mark.parametrize(
    ("applied", "connections"),
    [
        (None, 50),  # nothing seen: what it may have held before
        (1, 20),  # the oldest, and everything told since
        (2, 20),
        (3, 12),
        (4, 50),  # was never told: nobody knows what it is
    ],
)
def test_the_charge_is_the_most_that_may_be_obeyed(applied: int | None, connections: int) -> None:
    assert charged(grant(8, 20, 12, charged=50), Applied(applied)) == connections


def test_an_acknowledgement_of_an_older_share_forgets_nothing_told_since() -> None:
    """Told 4, then 5 and applied, the database still shows 4: a newcomer would take 3, 13 of 12 in all."""
    assert charged(grant(4, 5), Applied(1)) == 5


def test_a_smaller_share_counts_only_once_all_pools_have_applied_it() -> None:
    cost = PodCost(4, 2)
    before = grant(12, 3, charged=50)
    assert charged(before, Applied(1), cost) == 50
    assert charged(before, Applied(2), cost) == 14


def test_connections_that_are_seen_count_in_any_case() -> None:
    """A process that was killed leaves 9 behind, beside the 12 of its successor."""
    found = in_place_charge(grant(50, 12), START, Applied(2, connections=21), PodCost(1, 2))
    assert found.connections == 23
    assert found.basis == "21 connections seen"


def test_before_it_is_told_anything_it_is_charged_what_it_says_it_started_with() -> None:
    unknown = Charge(155, 0, COST, "unknown what it read")
    assert in_place_charge(None, unknown, Applied(), COST, 1).connections == 155
    assert in_place_charge(None, unknown, Applied(0, cap=2), COST, 1).connections == 2
    assert in_place_charge(None, unknown, Applied(0, cap=2), COST, 17).connections == 17


def test_a_pod_whose_record_is_lost_is_charged_what_it_said_itself() -> None:
    assert charged(None, Applied(7, cap=30)) == 30


def test_what_it_may_hold_stays_in_the_record_until_it_is_known_to_be_over() -> None:
    first = next_grant(None, START, Applied(), 5, PoolSizes(30, 20), 1.0)
    assert (first.told, first.charged) == ((Told(5, 50),), 1)
    shrunk = next_grant(first, Charge(50), Applied(5), 6, PoolSizes(9, 4), 2.0)
    assert (shrunk.told, shrunk.charged) == ((Told(5, 50), Told(6, 13)), 50)
    assert charged(shrunk, Applied()) == 50
    assert charged(shrunk, Applied(6)) == 13
    grown = next_grant(shrunk, Charge(13), Applied(6), 7, PoolSizes(14, 6), 3.0)
    assert grown.told == (Told(6, 13), Told(7, 20))


@given(caps=st.lists(st.integers(1, 60), min_size=1, max_size=30), seen=st.integers(0, 40))
def test_a_bounded_record_never_says_less(caps: list[int], seen: int) -> None:
    """However many shares are told in vain, the charge is that of all of them."""
    found, charge = None, START
    for revision, cap in enumerate(caps, start=1):
        found = next_grant(found, charge, Applied(), revision, PoolSizes(cap, 0), 0.0)
        charge = in_place_charge(found, START, Applied(), COST)
    assert charge.connections == max(caps)
    applied = Applied(seen)
    truth = max(caps[seen - 1 :]) if 1 <= seen <= len(caps) else max(caps)
    assert in_place_charge(found, START, applied, COST).connections >= truth


def test_a_pod_that_says_nothing_for_long_is_pinned_until_it_does() -> None:
    found, late = grant(50, 12, time=100.0), 100.0 + PATIENCE
    assert not pod_share(found, Applied(1), late - 1, COST).is_pinned
    assert pod_share(found, Applied(1), late, COST).is_pinned
    assert not pod_share(found, Applied(2), late, COST).is_pinned
    assert pod_share(found, Applied(2), 0.0, COST).is_acknowledged


def test_nobody_is_pinned_while_nobody_can_look_or_before_it_has_started() -> None:
    found, late = grant(50, 12, time=100.0), 100.0 + PATIENCE
    assert not pod_share(found, Applied(1), None, COST).is_pinned
    assert not pod_share(found, Applied(1), late, COST, has_started=False).is_pinned


def test_touches_that_were_missed_are_not_made_up_for() -> None:
    found = grant(5, time=100.0)
    assert [touch_due(replace(found, touched=count)) - 100 for count in range(9)] == [
        *(1, 2, 4, 8, 16, 32, 64, 124, 184)
    ]
    for hours in (0.001, 0.01, 1, 12):
        now = 100.0 + 3600 * hours
        touched = replace(found, touched=touches_until(found, now))
        assert touch_due(touched) > now or hours < 0.02


# The plan.


def pod(uid: str, told: int | None, held: int | None = None, stage: PodStage = PodStage.RUNNING) -> Pod:
    share = PodShare(None if told is None else PoolSizes(told, 0), is_acknowledged=held in (None, told))
    return Pod(uid, uid, stage, Charge(1 if told is None else (held or told)), share=share)


def in_place(*pods: Pod, desired: int | None = None, **bounds: int) -> Target:
    workload = Workload(len(pods) if desired is None else desired, RolloutLimit(0))
    return Target(KEY, TargetBounds(**bounds), workload, pods, PoolSizes(1, 0), is_in_place=True)


def planned(usable: int, *targets: Target, may_grow: bool = True) -> Plan:
    return plan(Inputs(usable, targets, ReserveFor.CURRENT_PODS, may_grow=may_grow))


def caps(found: Plan) -> dict[str, int]:
    return {share.uid: share.sizes.cap for share in found.shares}


def test_all_of_usable_is_in_use_with_caps_that_differ_by_one() -> None:
    found = planned(155, in_place(*(pod(f"p{number}", None) for number in range(12))))
    assert sorted(caps(found).values()) == [12] + [13] * 11
    assert found.allocated == 155


def test_who_has_one_more_keeps_it() -> None:
    pods = [pod("a", 12), pod("b", 13), pod("c", 13)]
    assert caps(planned(38, in_place(*pods))) == {"a": 12, "b": 13, "c": 13}


def test_shrink_first_for_pods_that_are_only_asked_for() -> None:
    """3 pods hold 51 each and 9 more are wanted: they are told at once, and nothing is given away yet."""
    found = planned(155, in_place(pod("a", 51), pod("b", 51), pod("c", 51), desired=12))
    assert set(caps(found).values()) == {13}
    assert found.allocated == 153


def test_newcomers_get_what_the_others_have_given_up_and_no_more() -> None:
    old = [pod("a", 13, held=51), pod("b", 13), pod("c", 13)]
    new = [pod(f"new{number}", None) for number in range(9)]
    found = planned(155, in_place(*old, *new))
    given = caps(found)
    assert {given[name] for name in "abc"} == {13}
    assert sorted(given[item.uid] for item in new) == [8, 8, 8, 9, 9, 9, 9, 9, 9]
    assert found.allocated <= 155
    assert found.targets[0].waits_to_grow


def test_growing_waits_for_its_permission_and_shrinking_does_not() -> None:
    found = planned(60, in_place(pod("a", 51), pod("b", 2)), may_grow=False)
    assert caps(found) == {"a": 30, "b": 2}


def test_around_a_pinned_pod_the_others_share_the_rest() -> None:
    stuck = replace(pod("stuck", 13, held=51), share=PodShare(PoolSizes(13, 0), is_pinned=True))
    found = planned(155, in_place(stuck, *(pod(f"p{number}", 5) for number in range(8))))
    given = caps(found)
    assert given.pop("stuck") == 13
    assert set(given.values()) == {13}
    assert found.allocated == 51 + 8 * 13


def test_terminating_and_ended_pods_are_told_nothing_and_count() -> None:
    ending = [pod("t", 40, stage=PodStage.TERMINATING), pod("e", 10, stage=PodStage.ENDED)]
    found = planned(100, in_place(*ending, pod("a", 1), desired=1))
    assert caps(found) == {"a": 50}
    assert found.pods == 2


def test_over_budget_nothing_grows() -> None:
    found = planned(20, in_place(pod("a", 2, held=30), pod("b", 1), min_per_pool=5))
    assert caps(found) == {"a": 2, "b": 1}


def test_while_the_capacity_is_unknown_everybody_keeps_what_he_has() -> None:
    found = plan(Inputs(None, (in_place(pod("a", 7), pod("b", None)),)))
    assert caps(found) == {"a": 7, "b": 1}


def test_a_container_that_starts_gets_the_start_of_its_own() -> None:
    target = replace(in_place(pod("a", 7), start_per_pool=2, min_per_pool=5), published=None)
    found = planned(100, target)
    assert found.targets[0].sizes == PoolSizes(2, 0)


def test_room_is_kept_for_the_next_step_at_what_it_starts_with() -> None:
    workload = Workload(3, RolloutLimit(25, percent=True), Autoscaler(3, 30), waves=1)
    target = replace(in_place(*(pod(name, None) for name in "abc")), workload=workload)
    found = plan(Inputs(155, (target,)))
    assert found.allocated == 155 - 3
    assert found.next_step == 155


def test_pods_of_an_older_template_grow_by_the_workers_of_their_time() -> None:
    """Workers 4 -> 2: two pods with 4 pools each were told 10, 80 of 40."""
    old = PodCost(4, 0)
    share = PodShare(PoolSizes(5, 0), is_acknowledged=True, cost=old)
    pods = [Pod(name, name, PodStage.RUNNING, Charge(20), share=share) for name in "ab"]
    found = planned(40, in_place(*pods, workers=2))
    assert caps(found) == {"a": 5, "b": 5}
    assert found.allocated == 40


def test_a_start_that_was_raised_is_not_what_older_pods_have() -> None:
    """Started with 1 and told nothing, start is 8 now: 1 -> 4 is a raise, and waits for its permission."""
    holding = pod("a", 10)
    found = planned(12, in_place(holding, pod("b", None), pod("c", None), start_per_pool=8), may_grow=False)
    assert caps(found) == {"a": 4, "b": 1, "c": 1}
    assert not any(share.sizes.cap > share.before for share in found.shares)


def test_a_pod_that_may_have_read_more_is_told_less() -> None:
    started = Pod("a", "a", PodStage.RUNNING, Charge(20), share=PodShare())
    [share] = planned(1, in_place(started)).shares
    assert share.changes
    assert share.sizes.cap <= share.before


def test_a_start_that_does_not_fit_is_said() -> None:
    found = planned(10, in_place(pod("a", 4), desired=3, start_per_pool=6))
    assert not found.feasible


def test_a_new_pod_that_has_its_share_already_is_told_nothing() -> None:
    pods = [pod(f"p{number}", None) for number in range(12)]
    assert not any(share.changes for share in planned(12, in_place(*pods)).shares)


def test_what_has_no_node_yet_is_told_nothing_and_others_make_room() -> None:
    pending = replace(pod("pending", None), has_node=False, charge=Charge(0))
    found = planned(100, in_place(pod("a", 90), pending))
    assert caps(found) == {"a": 50}
    assert found.next_step <= 100


def test_ended_pods_need_no_floor() -> None:
    ended = [pod(f"e{number}", 1, stage=PodStage.ENDED) for number in range(6)]
    found = planned(12, in_place(*(pod(f"p{number}", 1) for number in range(10)), *ended, desired=10))
    assert found.feasible
    assert found.expected_pods == 10


MODELS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 30), st.sampled_from(["run", "new", "pinned", "ending"])),
    min_size=1,
    max_size=12,
)


@given(
    model=MODELS,
    usable=st.integers(1, 200),
    missing=st.integers(0, 5),
    floor=st.integers(1, 6),
    initial=st.integers(0, 4),
    pools=st.integers(1, 3),
)
@settings(max_examples=400, deadline=None)
def test_no_plan_promises_more_than_there_is(
    model: list[tuple[int, int, str]], usable: int, missing: int, floor: int, initial: int, pools: int
) -> None:
    """What all may open never grows beyond usable; and each pod stays between what it has and its share."""
    cost = PodCost(pools, 0)
    pods = []
    for number, (told, more, kind) in enumerate(model):
        share = PodShare(None if kind == "new" else PoolSizes(told, 0), more == 0, kind == "pinned")
        held = pools if kind == "new" else cost.at(told) + more
        stage = PodStage.TERMINATING if kind == "ending" else PodStage.RUNNING
        pods.append(Pod(f"p{number}", f"p{number}", stage, Charge(held), share=share))
    beside = Target(
        TargetKey("Deployment", "beside"),
        TargetBounds(),
        Workload(initial, RolloutLimit(0)),
        tuple(Pod(f"i{n}", "", PodStage.RUNNING, Charge(3, 3, PodCost(1, 0))) for n in range(initial)),
        PoolSizes(3, 0),
    )
    target = replace(
        in_place(*pods, desired=len(pods) + missing, min_per_pool=floor, workers=pools),
        published=PoolSizes(1, 0),
    )
    before = sum(item.charge.connections for item in (*pods, *beside.pods))
    found = planned(usable, target, beside)
    raises = found.target(beside.key).sizes != PoolSizes(3, 0)
    grows = any(share.sizes.cap > (share.told.cap if share.told else 1) for share in found.shares)
    if grows:
        assert found.allocated <= usable
    if not raises:
        assert found.allocated <= max(usable, before)
    for share in found.shares:
        told = share.told.cap if share.told else 1
        assert min(told, share.final_cap) <= share.sizes.cap <= max(told, share.final_cap)
        if share.is_pinned:
            assert share.sizes == share.told
