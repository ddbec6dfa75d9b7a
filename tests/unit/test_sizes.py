"""pool_size and max_overflow from a cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.planning.sizes import split_cap


@pytest.mark.parametrize(
    ("cap", "pool_size", "max_overflow"),
    [
        (51, 35, 15),  # 155 usable, 3 pods: the figure that many guides print
        (111, 77, 33),  # 670 usable, 3 pods with two pools each
        (1, 1, 0),
        (2, 2, 0),
        (3, 3, 0),
        (10, 7, 3),
        (33, 24, 9),  # rounding both down would lose 1 of 33
        (34, 23, 10),  # 1 of 34 is below 3 %
    ],
)
def test_known_splits(cap: int, pool_size: int, max_overflow: int) -> None:
    sizes = split_cap(cap, 70)
    assert (sizes.pool_size, sizes.max_overflow) == (pool_size, max_overflow)


@given(cap=st.integers(1, 300_000), percent=st.integers(1, 100))
def test_never_more_than_the_cap_and_never_unlimited(cap: int, percent: int) -> None:
    sizes = split_cap(cap, percent)
    assert sizes.pool_size >= 1
    assert sizes.max_overflow >= 0
    assert sizes.cap <= cap


@given(cap=st.integers(1, 300_000), percent=st.integers(1, 100))
def test_loses_at_most_3_percent(cap: int, percent: int) -> None:
    assert (cap - split_cap(cap, percent).cap) * 100 <= 3 * cap


@pytest.mark.parametrize(("cap", "percent"), [(0, 70), (-1, 70), (5, 0), (5, 101)])
def test_refuses_what_makes_no_sense(cap: int, percent: int) -> None:
    with pytest.raises(ValueError, match=r"at least 1|from 1 to 100"):
        split_cap(cap, percent)
