"""From a cap to `pool_size` and `max_overflow`."""

from __future__ import annotations

from poolbudget.planning.inputs import PoolSizes

# A split that loses more than this share of the cap to rounding gives the rest to pool_size:
# small caps (below 34) lose nothing, large ones keep the two floors people calculate by hand.
_TOLERATED_LOSS_PERCENT = 3


def split_cap(cap: int, pool_size_percent: int) -> PoolSizes:
    """Split a cap of at least 1 connection by percentage, in integer arithmetic.

    Both parts are rounded down; 51 at 70 % is 35 and 15. `pool_size` is never 0, which SQLAlchemy
    reads as "no limit" (`sqlalchemy.pool.QueuePool`), and the sum never exceeds the cap.

    Raises ValueError for a cap below 1 or a percentage outside 1 to 100.
    """
    _check(cap, pool_size_percent)
    pool_size = cap * pool_size_percent // 100
    max_overflow = cap * (100 - pool_size_percent) // 100
    lost = cap - pool_size - max_overflow
    if lost * 100 > cap * _TOLERATED_LOSS_PERCENT:
        pool_size += lost
    if pool_size == 0:
        return PoolSizes(1, cap - 1)
    return PoolSizes(pool_size, max_overflow)


def split_whole(cap: int, pool_size_percent: int) -> PoolSizes:
    """As `split_cap`, with what rounding loses in `pool_size`: for shares of single pods, which may differ.

    Raises ValueError, as `split_cap` does.
    """
    _check(cap, pool_size_percent)
    max_overflow = min(cap * (100 - pool_size_percent) // 100, cap - 1)
    return PoolSizes(cap - max_overflow, max_overflow)


def _check(cap: int, pool_size_percent: int) -> None:
    if cap < 1:
        raise ValueError(f"a pool needs at least 1 connection, not {cap}")
    if not 1 <= pool_size_percent <= 100:
        raise ValueError(f"poolSizePercent is a percentage from 1 to 100, not {pool_size_percent}")
