"""Weighted max-min fairness, against what defines it."""

from hypothesis import given
from hypothesis import strategies as st

from poolbudget.planning.inputs import TargetBounds
from poolbudget.planning.shares import Claim, fair_caps


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    floor = draw(st.integers(1, 6))
    most = draw(st.none() | st.integers(floor, 80))
    bounds = TargetBounds(
        workers=draw(st.integers(1, 4)),
        pools_per_worker=draw(st.integers(1, 2)),
        extra_connections=draw(st.integers(0, 3)),
        min_per_pool=floor,
        max_per_pool=most,
        weight=draw(st.integers(1, 5)),
    )
    return Claim(draw(st.integers(0, 12)), bounds)


def cost(claims_: list[Claim], caps: list[int]) -> int:
    return sum(claim.pods * claim.bounds.cost(cap) for claim, cap in zip(claims_, caps, strict=True))


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_fits_whenever_the_floors_fit(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    floors = sum(claim.floor_cost for claim in wanted)
    assert cost(wanted, caps) <= max(usable, floors)
    for claim, cap in zip(wanted, caps, strict=True):
        assert claim.bounds.floor <= cap <= max(claim.bounds.floor, claim.limit(usable))


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=1, max_size=6))
def test_nothing_is_left_that_somebody_could_use(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    left = usable - cost(wanted, caps)
    for claim, cap in zip(wanted, caps, strict=True):
        if claim.pods and cap < claim.limit(usable):
            assert claim.step_cost > left


@given(usable=st.integers(0, 2000), wanted=st.lists(claims(), min_size=2, max_size=6))
def test_nobody_can_be_helped_at_the_cost_of_someone_better_off(usable: int, wanted: list[Claim]) -> None:
    caps = fair_caps(usable, wanted)
    left = usable - cost(wanted, caps)
    for poor, poor_cap in zip(wanted, caps, strict=True):
        for rich, rich_cap in zip(wanted, caps, strict=True):
            can_give = rich_cap > rich.bounds.floor and rich.pods > 0
            can_take = poor_cap < poor.limit(usable) and poor.pods > 0
            enough = left + rich.step_cost >= poor.step_cost
            if rich is not poor and can_give and can_take and enough:
                after = (rich_cap - 1) / rich.bounds.weight
                assert after <= (poor_cap + 1) / poor.bounds.weight


def test_three_equal_pods_share_155() -> None:
    assert fair_caps(155, [Claim(3, TargetBounds())]) == [51]


def test_weight_is_per_pod() -> None:
    light, heavy = Claim(4, TargetBounds()), Claim(2, TargetBounds(weight=3))
    assert fair_caps(100, [light, heavy]) == [10, 30]


def test_what_one_cannot_use_goes_to_the_others() -> None:
    capped, free = Claim(2, TargetBounds(max_per_pool=5)), Claim(2, TargetBounds())
    assert fair_caps(100, [capped, free]) == [5, 45]


def test_floors_are_given_even_when_they_do_not_fit() -> None:
    assert fair_caps(10, [Claim(5, TargetBounds(min_per_pool=4))]) == [4]
