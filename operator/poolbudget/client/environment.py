"""Pool sizes from the environment, as the ConfigMap's `envFrom` puts them there."""

from __future__ import annotations

import os
from collections.abc import Mapping


class PoolSizesError(LookupError):
    """The environment does not say how large the pool may be; the message says what to do."""


def pool_sizes(prefix: str = "", environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """`pool_size` and `max_overflow`, in connections, for SQLAlchemy's `create_async_engine`.

        engine = create_async_engine(url, **pool_sizes())

    `prefix` is the target's `configMap.keyPrefix`. Sizes that SQLAlchemy reads as "no limit"
    (`pool_size` below 1, `max_overflow` below 0; sqlalchemy.pool.QueuePool) are refused.

    Raises PoolSizesError.
    """
    values = os.environ if environment is None else environment
    return {
        "pool_size": _number(values, f"{prefix}POOL_SIZE", least=1),
        "max_overflow": _number(values, f"{prefix}MAX_OVERFLOW", least=0),
    }


def _number(values: Mapping[str, str], name: str, least: int) -> int:
    text = values.get(name)
    if text is None:
        raise PoolSizesError(
            f"{name} is not set: add the target's ConfigMap to the container's envFrom (not optional)"
        )
    if not text.isdecimal() or int(text) < least:
        raise PoolSizesError(f"{name} must be a whole number from {least}, not {text!r}")
    return int(text)
