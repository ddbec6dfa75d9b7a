"""What applications import: the pool sizes that PoolBudget gave to this container.

Needs neither kopf nor kubernetes, only what SQLAlchemy brings.
"""

from poolbudget.client.environment import PoolSizesError, pool_sizes

__all__ = ["PoolSizesError", "pool_sizes"]
