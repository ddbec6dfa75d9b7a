"""Weighted max-min fairness, against what defines it."""

from hypothesis import given
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
