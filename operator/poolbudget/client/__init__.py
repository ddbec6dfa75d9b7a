"""What applications import: engines with the sizes and settings that PoolBudget gave to this pod.

Needs neither kopf nor kubernetes, only what SQLAlchemy brings.
"""

from poolbudget.client.engine import create_async_engine, create_engine
from poolbudget.client.environment import PoolSizesError, pool_sizes
from poolbudget.client.options import engine_options
from poolbudget.client.usage import Figures, figures, log_figures, warn_when_busy

__all__ = [
    "Figures",
    "PoolSizesError",
    "create_async_engine",
    "create_engine",
    "engine_options",
    "figures",
    "log_figures",
    "pool_sizes",
    "warn_when_busy",
]
