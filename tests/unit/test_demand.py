"""Shares by demand: the load to plan with, how connections are dealt by it, and how it is measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.capacity.sightings import Sighting, Tagged
from poolbudget.cluster.demand import Loads, demands_of, with_loads
from poolbudget.planning.demand import Demand, InUse, dealt_caps, load_per_pool, next_demand, told_caps
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


def demand(level: float, planned: float | None = None, time: float = 100.0) -> Demand:
    return Demand(level, level if planned is None else planned, time)


@pytest.mark.parametrize(
    ("before", "average", "recent", "cap", "planned", "why"),
    [
        (None, 4.0, 4.0, 10, 4.0, "the first look"),
        (4.0, 4.6, 4.6, 10, 4.0, "chance alone moves it by so much"),
        (4.0, 6.0, 6.0, 10, 6.0, "more is needed"),
        (40.0, 20.0, 20.0, 100, 40.0, "5 s: nothing is taken away in such haste"),
        (10.0, 10.0, 10.0, 10, 15.0, "all is in use: what is wanted cannot be seen"),
        (10.0, 2.0, 10.0, 10, 15.0, "so is what is in use of late"),
        (10.0, 10.0, 10.0, 100, 10.0, "all of it is not"),
        (9.0, 9.0, 9.0, 10, 9.0, "nearly all"),
        (90.0, 100.0, 100.0, 100, 100.0, "never more than usable"),
        (1000.0, 50.0, 50.0, 100, 100.0, "nor what somebody has written into the status"),
        (1.0, 0.0, 0.0, 0, 1.0, "nothing told yet"),
    ],
)
def test_the_load_to_plan_with(
    before: float | None, average: float, recent: float, cap: int, planned: float, why: str
) -> None:
    old = None if before is None else demand(before)
    found = next_demand(old, InUse(average, recent), cap, 100, 105)
    assert found is not None
    assert found.planned == planned, why


def test_a_load_falls_over_minutes_however_often_somebody_looks() -> None:
    for every in (0.1, 5):
        found: Demand | None = demand(40)
        for number in range(1, int(120 / every) + 1):
            found = next_demand(found, InUse(20, 20), 100, 100, 100 + number * every)
        assert found is not None
        assert found.level == pytest.approx(20 + 20 / math.e)


def test_without_a_newer_look_nothing_changes() -> None:
    assert next_demand(None, None, 10, 100, 100) is None
    assert next_demand(demand(7), None, 10, 100, 200) == demand(7)
    assert next_demand(demand(7), InUse(50, 50), 10, 100, 100) == demand(7)


@given(level=st.floats(0, 200), use=st.floats(0, 200), cap=st.integers(1, 200))
def test_the_same_look_twice_raises_nothing_more(level: float, use: float, cap: int) -> None:
    once = next_demand(demand(level), InUse(use, use), cap, 200, 105)
    assert once is not None
    twice = next_demand(once, InUse(use, use), cap, 200, 110)
    assert twice is not None
    assert twice.level <= once.level


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
    assert load_per_pool(target(pod(UIDS[0], 5, pools=3), load=12), missing=1) == 3
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


NOW = 1000.0
IN_USE = Loads(
    {pod_part(UIDS[0]): InUse(3, 3), pod_part(UIDS[1]): InUse(2, 2), "somebody else": InUse(9, 9)}, NOW
)


def loads_of(
    *pods: Pod, given: Loads = IN_USE, manifest: dict[str, object] | None = None, most: int | None = None
) -> float | None:
    """What is planned with for the pods of one target."""
    made = target(*(pods or (pod(UIDS[0], 50), pod(UIDS[1], 50))))
    made = replace(made, bounds=TargetBounds(max_per_pool=most))
    [found] = with_loads([made], demands_of([made], spec(), given, manifest or {}, 100, NOW))
    return found.load


def test_a_targets_load_is_what_its_pods_have_in_use() -> None:
    assert loads_of() == 5.0
    ending = replace(pod(UIDS[1], 50), stage=PodStage.TERMINATING)
    assert loads_of(pod(UIDS[0], 50), ending) == 5.0, "what it does is its successor's soon"
    assert loads_of(pod(UIDS[0], 1), pod(UIDS[1], 1), most=2) == 4.0, "never more than it may have"


def test_by_weight_nobody_asks_for_loads() -> None:
    targets = [target(pod(UIDS[0], 50))]
    assert demands_of(targets, spec("Weight"), IN_USE, {}, 100, NOW) == {}
    assert with_loads(targets, {}) == targets


def test_what_was_used_last_is_in_the_status() -> None:
    unseen = Loads()
    assert loads_of(given=unseen, manifest=told("7.5")) == 7.5
    assert loads_of(given=Loads(demands={KEY: demand(6)}), manifest=told("7.5")) == 6.0
    for nonsense in ("-1", "nan", "inf", "many", None, {}, "99999999999999"):
        assert loads_of(given=unseen, manifest=told(nonsense)) is None


def test_a_target_of_unknown_load_counts_as_idle_beside_others() -> None:
    other = target(key=TargetKey("Deployment", "other"))
    targets = [target(pod(UIDS[0], 50)), other]
    found = with_loads(targets, {KEY: demand(6)})
    assert [item.load for item in found] == [6.0, 0.0]


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


def in_use(made: LoadTracker) -> list[tuple[float, float]]:
    found = made.loads(BUDGET).in_use
    assert found is not None
    return [(round(item.average, 2), round(item.recent, 2)) for item in found.values()]


def test_what_is_in_use_is_averaged_over_a_minute_and_of_late() -> None:
    assert in_use(tracker(look(100, 10))) == [(10, 10)]
    assert in_use(tracker(look(100, 10), look(115, 20))) == [(12.21, 13.93)]
    assert in_use(tracker(look(100, 20), look(115, 10))) == [(17.79, 16.07)]
    assert in_use(tracker(look(100, 10), look(900, 20))) == [(12.21, 13.93)], "one look after an outage"
    assert in_use(tracker(look(100, 20, 4), look(105, 20))) == [(20, 20)], "a pod that is gone"


def test_looks_in_quick_succession_are_news_every_five_seconds() -> None:
    made = tracker()
    news = [made.observe(BUDGET, look(100 + number / 10, 10 + number % 2)) for number in range(101)]
    assert [number for number, is_news in enumerate(news) if is_news] == [0, 45, 90]
    assert not tracker(look(100, 0)).observe(BUDGET, look(200, 0)), "nothing has changed"


def test_what_was_planned_with_is_remembered() -> None:
    made = tracker(look(100, 10))
    made.planned(BUDGET, {KEY: demand(10)})
    assert made.loads(BUDGET).demands == {KEY: demand(10)}
    made.look_anew(BUDGET)
    assert made.loads(BUDGET) == Loads(None, 100, {KEY: demand(10)})


def test_a_look_that_shows_no_states_says_nothing() -> None:
    assert in_use(tracker(look(100, 10), look(105, 99, hidden=1))) == [(10, 10)]
    assert tracker(look(100, 10, hidden=1)).loads(BUDGET).in_use is None


def test_others_connections_do_not_matter() -> None:
    assert tracker(look(100, 10, budget="shop/other")).loads(BUDGET).in_use == {}
    hidden = look(105, 99, hidden=1, budget="shop/other")
    both = Sighting(105, (*look(105, 10).tagged, *hidden.tagged))
    assert in_use(tracker(look(100, 10), both)) == [(10, 10)]


def test_by_weight_nothing_is_measured() -> None:
    made = tracker(look(100, 10))
    made.measure(BUDGET, False)
    assert made.loads(BUDGET) == Loads()
    assert not made.observe(BUDGET, look(105, 10))
    assert made.measure(BUDGET, True)
    assert not made.measure(BUDGET, True)
