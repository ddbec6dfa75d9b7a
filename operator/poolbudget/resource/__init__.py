"""The PoolBudget resource: its models, its conditions, its CustomResourceDefinition."""

GROUP = "poolbudget.io"
VERSION = "v1alpha1"
KIND = "PoolBudget"
PLURAL = "poolbudgets"
API_VERSION = f"{GROUP}/{VERSION}"
