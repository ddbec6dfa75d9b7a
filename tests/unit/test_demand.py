"""Shares by demand: the load to plan with, how connections are dealt by it, and how it is measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.capacity.sightings import Sighting, Tagged
from poolbudget.cluster.demand import Loads, with_loads
from poolbudget.cluster.in_place import Sight
from poolbudget.planning.demand import dealt_caps, load_per_pool, next_load, told_caps
from poolbudget.planning.inputs import (
    Applied,
    Charge,
    Pod,
    PodCost,
    PodShare,
    PodStage,
    PoolSizes,
    Target,
    TargetBounds,
    TargetKey,
)
from poolbudget.planning.shares import Claim, Group, fair_caps
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.runtime.index import BudgetKey
from poolbudget.runtime.loads import LoadTracker
from poolbudget.tag import Tag, budget_part, pod_part

KEY = TargetKey("Deployment", "api")
BUDGET = BudgetKey("shop", "orders")
UIDS = tuple(f"0a1b2c3d-1111-2222-3333-00000000000{number}" for number in range(3))


def claim(load: float | None, pods: int = 1, weight: float = 1, floor: int = 1, limit: int = 1000) -> Claim:
    return Claim(floor, limit, weight, (Group(pods, PodCost(1, 0)),), load=load)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    floor = draw(st.integers(1, 6))
    limit = draw(st.integers(floor, 80) | st.just(2000))
    load = draw(st.floats(0, 100))
    return claim(load, draw(st.integers(1, 12)), draw(st.integers(1, 5)), floor, limit)


def cost(wanted: list[Claim], caps: list[int]) -> int:
    return sum(item.at(cap) for item, cap in zip(wanted, caps, strict=True))


@given(usable=st.integers(0, 1000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_by_demand_all_fits_whenever_the_floors_fit(usable: int, wanted: list[Claim]) -> None:
    caps = dealt_caps(usable, wanted)
    assert cost(wanted, caps) <= max(usable, cost(wanted, [item.floor for item in wanted]))
    for item, cap in zip(wanted, caps, strict=True):
        assert item.floor <= cap <= item.limit
        left = usable - cost(wanted, caps)
        assert cap == item.limit or item.at(cap + 1) - item.at(cap) > left or left < 0


@given(usable=st.integers(0, 1000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_nobody_is_saturated_where_everybody_can_have_more_than_his_load(
    usable: int, wanted: list[Claim]
) -> None:
    least = [max(item.floor, min(item.limit, math.floor(item.load or 0) + 1)) for item in wanted]
    caps = dealt_caps(usable, wanted)
    if cost(wanted, least) <= usable:
        assert all(cap >= need for cap, need in zip(caps, least, strict=True))


@given(usable=st.integers(0, 1000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_without_loads_shares_go_by_weight(usable: int, wanted: list[Claim]) -> None:
    plain = [replace(item, load=None) for item in wanted]
    assert dealt_caps(usable, plain) == fair_caps(usable, plain)


def test_the_spare_goes_by_weight_and_the_square_root_of_the_load() -> None:
    # 150 - (81 + 9) = 60 to spare; the roots are 9 and 3.
    assert dealt_caps(150, [claim(81), claim(9)]) == [126, 24]
    # With weights 1 and 3 they count the same.
    assert dealt_caps(150, [claim(81), claim(9, weight=3)]) == [111, 39]


def test_too_little_for_all_loads_is_shared_by_weight() -> None:
    """Who has in use less than his share keeps it, the rest is shared evenly."""
    assert dealt_caps(100, [claim(10), claim(90), claim(80)]) == [11, 44, 45]


def test_idle_targets_share_as_by_weight() -> None:
    assert dealt_caps(100, [claim(0.0), claim(0.0)]) == [50, 50]


@pytest.mark.parametrize(
    ("used", "measured", "cap", "expected", "why"),
    [
        (None, None, 10, None, "nobody has looked"),
        (7.0, None, 10, 7.0, "nobody has looked since"),
        (None, 4.0, 10, 4.0, "the first look"),
        (4.0, 4.9, 10, 4.0, "chance alone moves it by so much"),
        (4.0, 6.0, 10, 6.0, "more is needed"),
        (40.0, 20.0, 100, 30.0, "halfway down"),
        (10.0, 10.0, 10, 15.0, "all is in use: what is wanted cannot be seen"),
        (10.0, 10.0, 100, 10.0, "all of it is not"),
        (9.0, 9.0, 10, 9.0, "nearly all"),
        (90.0, 100.0, 100, 100.0, "never more than usable"),
        (1.0, 0.0, 0, 0.5, "nothing told yet"),
    ],
)
def test_the_load_to_plan_with(
    used: float | None, measured: float | None, cap: int, expected: float | None, why: str
) -> None:
    assert next_load(used, measured, cap, 100) == expected, why


@given(used=st.floats(0, 200), measured=st.floats(0, 200), cap=st.integers(1, 200))
def test_the_same_look_twice_changes_nothing_upwards(used: float, measured: float, cap: int) -> None:
    once = next_load(used, measured, cap, 200)
    assert once is not None
    if once > used:
        assert next_load(once, measured, cap, 200) == once


def pod(uid: str, cap: int | None, pools: int = 1) -> Pod:
    sizes = None if cap is None else PoolSizes(cap, 0)
    share = PodShare(sizes, True, False, Applied(1, cap or 1, 1), PodCost(pools, 0))
    return Pod(uid, uid, PodStage.RUNNING, Charge(cap or 1), share=share)


def target(*pods: Pod, load: float | None = None, key: TargetKey = KEY, follows: bool = True) -> Target:
    return Target(key, TargetBounds(), None, pods, is_in_place=follows, load=load)


def test_what_a_target_was_told_is_counted_over_pods_and_pools() -> None:
    assert told_caps(target(pod(UIDS[0], 5), pod(UIDS[1], 6, pools=2), pod(UIDS[2], None))) == 17


def test_a_targets_load_is_spread_over_its_pods_and_those_that_are_missing() -> None:
    assert load_per_pool(target(pod(UIDS[0], 5), load=12), missing=2) == 4
    assert load_per_pool(target(load=12), missing=0) == 12
    assert load_per_pool(target(pod(UIDS[0], 5)), missing=0) is None


def spec(share_by: str = "Demand") -> PoolBudgetSpec:
    return PoolBudgetSpec.model_validate(
        {
            "endpoint": {"host": "db"},
            "capacity": {"probe": {"urlSecretKeyRef": {"name": "monitor"}}},
            "shareBy": share_by,
            "targets": [{"name": "api", "updateMode": "InPlace"}],
        }
    )


def told(load: object) -> dict[str, object]:
    return {"status": {"targets": [{"kind": "Deployment", "name": "api", "load": load}]}}


IN_USE = Loads({pod_part(UIDS[0]): 3.0, pod_part(UIDS[1]): 2.0, "somebody else": 9.0})


def loads_of(
    *, given: Loads = IN_USE, manifest: dict[str, object] | None = None, hides: bool = False
) -> float | None:
    targets = [target(pod(UIDS[0], 50), pod(UIDS[1], 50))]
    [found] = with_loads(targets, spec(), given, manifest or {}, Sight(hides_states=hides), 100)
    return found.load


def test_a_targets_load_is_what_its_pods_have_in_use() -> None:
    assert loads_of() == 5.0
    assert loads_of(hides=True) is None, "nobody can see it"
    targets = [target(pod(UIDS[0], 50))]
    assert with_loads(targets, spec("Weight"), IN_USE, {}, Sight(), 100) == targets
    assert with_loads(targets, spec(), IN_USE, {}, Sight(), None) == targets


def test_what_was_used_last_is_in_the_status() -> None:
    assert loads_of(given=Loads(), manifest=told("7.5")) == 7.5
    assert loads_of(given=Loads(used={KEY: 6.0}), manifest=told("7.5")) == 6.0
    for nonsense in ("-1", "nan", "inf", "many", None, {}):
        assert loads_of(given=Loads(), manifest=told(nonsense)) is None


def test_one_target_of_unknown_load_is_enough_to_go_by_weight() -> None:
    targets = [target(pod(UIDS[0], 50)), target(key=TargetKey("Deployment", "other"))]
    found = with_loads(targets, spec(), Loads(used={KEY: 6.0}), {}, Sight(), 100)
    assert [item.load for item in found] == [None, None]


def look(time: float, *active: int, hidden: int = 0, budget: str = "shop/orders") -> Sighting:
    rows = (
        Tagged(Tag(pod_part(uid), "p1", budget_part(budget), 0, 7, 50), "", count, count, hidden)
        for uid, count in zip(UIDS, active, strict=False)
    )
    return Sighting(time, tuple(rows))


def tracker(*sightings: Sighting) -> LoadTracker:
    made = LoadTracker()
    made.measure(BUDGET, True)
    for item in sightings:
        made.observe(BUDGET, item)
    return made


def in_use(made: LoadTracker) -> list[float]:
    found = made.loads(BUDGET).in_use
    assert found is not None
    return [round(load, 2) for load in found.values()]


def test_what_is_in_use_rises_fast_and_falls_slowly() -> None:
    assert in_use(tracker(look(0, 10))) == [10]
    assert in_use(tracker(look(0, 10), look(15, 20))) == [16.32]
    assert in_use(tracker(look(0, 20), look(15, 10))) == [18.82]
    assert in_use(tracker(look(0, 20, 4), look(5, 20))) == [20], "a pod that is gone has nothing in use"


def test_each_look_counts_once() -> None:
    made = tracker(look(0, 10))
    made.used(BUDGET, {KEY: 10.0})
    assert made.loads(BUDGET) == Loads(None, {KEY: 10.0})
    made.observe(BUDGET, look(5, 10))
    assert in_use(made) == [10]


def test_only_what_is_more_than_chance_is_told() -> None:
    made = tracker()
    assert made.observe(BUDGET, look(0, 16, 16))
    assert not made.observe(BUDGET, look(1000, 17, 17))
    assert made.observe(BUDGET, look(2000, 20, 16))
    assert made.observe(BUDGET, look(3000, 20))


def test_what_is_hidden_or_anothers_is_not_measured() -> None:
    assert tracker(look(0, 10), look(5, 10, hidden=1)).loads(BUDGET).in_use is None
    assert tracker(look(0, 10, budget="shop/other")).loads(BUDGET).in_use == {}
    made = tracker(look(0, 10))
    made.measure(BUDGET, False)
    assert made.loads(BUDGET) == Loads()
    assert not made.observe(BUDGET, look(5, 10))
