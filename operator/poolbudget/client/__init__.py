"""What applications import: the pool sizes and engine settings that PoolBudget gave to this container.

Needs neither kopf nor kubernetes, only what SQLAlchemy brings.
"""

from poolbudget.client.engine import engine_options
from poolbudget.client.environment import PoolSizesError, pool_sizes

__all__ = ["PoolSizesError", "engine_options", "pool_sizes"]
