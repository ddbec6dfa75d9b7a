"""Weighted max-min fairness, against what defines it."""

import itertools
from collections.abc import Sequence
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from poolbudget.planning.inputs import PodCost
from poolbudget.planning.shares import Claim, Group, fair_caps


@st.composite
def groups(draw: st.DrawFn) -> Group:
    cost = PodCost(draw(st.integers(1, 8)), draw(st.integers(0, 3)))
    return Group(draw(st.integers(1, 12)), cost, draw(st.just(0) | st.integers(0, 60)))


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    floor = draw(st.integers(1, 6))
    return Claim(
        floor=floor,
        limit=draw(st.integers(floor, 80) | st.just(2000)),
        weight=draw(st.integers(1, 5)),
        groups=tuple(draw(st.lists(groups(), max_size=3))),
        fixed=draw(st.just(0) | st.integers(0, 50)),
    )


def simple(pods: int, floor: int = 1, limit: int = 1000, weight: int = 1) -> Claim:
    return Claim(floor, limit, weight, (Group(pods, PodCost(1, 0)),))


def cost(wanted: list[Claim], caps: list[int]) -> int:
    return sum(claim.at(cap) for claim, cap in zip(wanted, caps, strict=True))


def step(claim: Claim, cap: int) -> int:
    return claim.at(cap + 1) - claim.at(cap)


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_fits_whenever_the_floors_fit(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    floors = sum(claim.at(claim.floor) for claim in wanted)
    assert cost(wanted, caps) <= max(usable, floors)
    for claim, cap in zip(wanted, caps, strict=True):
        assert claim.floor <= cap <= claim.limit


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_nothing_is_left_that_somebody_could_use(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    left = usable - cost(wanted, caps)
    for claim, cap in zip(wanted, caps, strict=True):
        assert cap == claim.limit or step(claim, cap) > left or left < 0


def test_what_costs_nothing_more_is_given_although_nothing_is_left() -> None:
    """Three pods hold all of 150: one that starts anew may have 50 again."""
    held = Claim(1, 1000, 1, (Group(3, PodCost(1, 0), held=50),))
    assert fair_caps(150, [held]) == [50]


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=2, max_size=6))
def test_nobody_can_be_helped_at_the_cost_of_someone_better_off(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    left = usable - cost(wanted, caps)
    for poor, poor_cap in zip(wanted, caps, strict=True):
        for rich, rich_cap in zip(wanted, caps, strict=True):
            if rich is poor or rich_cap <= rich.floor or poor_cap >= poor.limit:
                continue
            given_up, needed = step(rich, rich_cap - 1), step(poor, poor_cap)
            if given_up and needed and left + given_up >= needed:
                assert (rich_cap - 1) / rich.weight <= (poor_cap + 1) / poor.weight


def test_three_equal_pods_share_155() -> None:
    assert fair_caps(155, [simple(3)]) == [51]


def test_weight_is_per_pod() -> None:
    assert fair_caps(100, [simple(4), simple(2, weight=3)]) == [10, 30]


def test_what_one_cannot_use_goes_to_the_others() -> None:
    assert fair_caps(100, [simple(2, limit=5), simple(2)]) == [5, 45]


def test_the_level_rises_around_what_is_held() -> None:
    held = Claim(1, 1000, 1, (Group(3, PodCost(1, 0), held=20), Group(3, PodCost(1, 0))))
    assert fair_caps(120, [held]) == [20]
    assert fair_caps(90, [held]) == [10]


def test_floors_are_given_even_when_they_do_not_fit() -> None:
    assert fair_caps(10, [simple(5, floor=4)]) == [4]


def brute_force(usable: int, wanted: list[Claim]) -> list[float]:
    """The best of all allocations that fit, lowest first: max-min fairness by its definition."""
    choices = itertools.product(*(range(claim.floor, claim.limit + 1) for claim in wanted))
    fitting = (caps for caps in choices if cost(wanted, list(caps)) <= usable)
    return max(levels(wanted, caps) for caps in fitting)


def levels(wanted: Sequence[Claim], caps: Sequence[int]) -> list[float]:
    return sorted(cap / claim.weight for claim, cap in zip(wanted, caps, strict=True))


small = st.builds(
    lambda floor, more, weight, pods, pools: Claim(
        floor, floor + more, weight, (Group(pods, PodCost(pools, 0)),)
    ),
    st.integers(1, 3),
    st.integers(0, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
)


@given(usable=st.integers(0, 60), wanted=st.lists(small, min_size=1, max_size=3))
def test_the_lowest_share_is_as_high_as_any_allocation_makes_it(usable: int, wanted: list[Claim]) -> None:
    assume(sum(claim.at(claim.floor) for claim in wanted) <= usable)
    assert levels(wanted, fair_caps(usable, wanted))[0] == brute_force(usable, wanted)[0]


@given(
    usable=st.integers(0, 40),
    bounds=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 8)), min_size=1, max_size=4),
    pods=st.integers(1, 3),
)
def test_where_all_cost_the_same_the_allocation_is_the_best_of_all(
    usable: int, bounds: list[tuple[int, int]], pods: int
) -> None:
    wanted = [simple(pods, floor, floor + more) for floor, more in bounds]
    assume(sum(claim.at(claim.floor) for claim in wanted) <= usable)
    assert levels(wanted, fair_caps(usable, wanted)) == brute_force(usable, wanted)


@given(usable=st.integers(0, 500), more=st.integers(0, 50), wanted=st.lists(small, min_size=1, max_size=5))
def test_more_usable_is_never_worse(usable: int, more: int, wanted: list[Claim]) -> None:
    """In the order of max-min fairness: whoever had a lucky remainder may get less, the lower ones do not."""
    assume(sum(claim.at(claim.floor) for claim in wanted) <= usable)
    before, after = fair_caps(usable, wanted), fair_caps(usable + more, wanted)
    assert levels(wanted, before) <= levels(wanted, after)


@given(usable=st.integers(0, 500), wanted=st.lists(small, min_size=2, max_size=5), seed=st.randoms())
def test_the_order_does_not_matter(usable: int, wanted: list[Claim], seed: Random) -> None:
    """But between equal ones, of which one may get what rounding left."""
    shuffled = list(wanted)
    seed.shuffle(shuffled)
    one, other = fair_caps(usable, wanted), fair_caps(usable, shuffled)
    for claim in wanted:
        mine = sorted(cap for item, cap in zip(wanted, one, strict=True) if item == claim)
        assert mine == sorted(cap for item, cap in zip(shuffled, other, strict=True) if item == claim)
