"""PoolBudget keeps a database's connection budget while workloads scale."""

__version__ = "0.1.0"
