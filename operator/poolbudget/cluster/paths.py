"""URL paths of the objects that the operator reads and writes."""

from __future__ import annotations

from urllib.parse import quote

from poolbudget.planning.inputs import TargetKey
from poolbudget.resource import GROUP, PLURAL, VERSION

_WORKLOADS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


def budget(namespace: str, name: str) -> str:
    """A PoolBudget."""
    return f"{budgets(namespace)}/{_segment(name)}"


def budgets(namespace: str | None) -> str:
    """The PoolBudgets of a namespace, or of the whole cluster."""
    scope = "" if namespace is None else f"/namespaces/{namespace}"
    return f"/apis/{GROUP}/{VERSION}{scope}/{PLURAL}"


def budget_status(namespace: str, name: str) -> str:
    """A PoolBudget's status subresource."""
    return f"{budget(namespace, name)}/status"


def workload(namespace: str, key: TargetKey) -> str:
    """A Deployment or StatefulSet."""
    return f"/apis/apps/v1/namespaces/{namespace}/{_WORKLOADS[key.kind]}/{_segment(key.name)}"


def autoscalers(namespace: str) -> str:
    """The HorizontalPodAutoscalers of a namespace."""
    return f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"


def config_maps(namespace: str) -> str:
    """The ConfigMaps of a namespace."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(namespace: str, name: str) -> str:
    """A ConfigMap."""
    return f"{config_maps(namespace)}/{_segment(name)}"


def secret(namespace: str, name: str) -> str:
    """A Secret."""
    return f"/api/v1/namespaces/{namespace}/secrets/{_segment(name)}"


def pods(namespace: str | None) -> str:
    """The pods of a namespace, or of the whole cluster."""
    return "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"


def pod(namespace: str, name: str) -> str:
    """A pod."""
    return f"{pods(namespace)}/{_segment(name)}"


def events(namespace: str) -> str:
    """The Events of a namespace."""
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"


def _segment(name: str) -> str:
    """A name as one segment of a path: whatever it holds, it leads nowhere else.

    Raises ValueError for what a URL would resolve to another path.
    """
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not a name")
    return quote(name, safe="")
