"""Small pieces that several tests use."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cluster.control_plane import Cluster

Manifest = dict[str, Any]
Result = TypeVar("Result")

PATIENCE = 40.0
"""Seconds after which a state that is still not reached is a failure."""


def eventually(look: Callable[[], Result], good: Callable[[Result], bool] = bool) -> Result:
    """Look until what is seen is good; fail with what was seen last."""
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"not reached within {PATIENCE:.0f} s; seen last: {seen}"
        time.sleep(0.05)


def deployment(namespace: str, name: str = "api", replicas: int = 3, **spec: Any) -> Manifest:
    """A Deployment whose rollouts add no pods, so that sums are easy to check."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "none"}]},
            },
            **spec,
        },
    }


def budget(namespace: str, name: str = "orders", **spec: Any) -> Manifest:
    """A PoolBudget of 170 declared connections; 155 of them are usable."""
    return {
        "apiVersion": "poolbudget.io/v1alpha1",
        "kind": "PoolBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "endpoint": {"host": f"{namespace}.example.internal"},
            "capacity": {"maxConnections": 170},
            "reserved": {"admin": 10, "replication": 2},
            "targets": [{"name": "api"}],
            **spec,
        },
    }


def autoscaler(namespace: str, least: int, most: int) -> Manifest:
    """A HorizontalPodAutoscaler of the Deployment `api`."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "api", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
            "minReplicas": least,
            "maxReplicas": most,
        },
    }


def config_map(cluster: Cluster, namespace: str, name: str = "api-pool") -> Manifest | None:
    """A ConfigMap, None where there is none."""
    items: list[Manifest] = cluster.get("configmap", f"--namespace={namespace}")["items"]
    return next((item for item in items if item["metadata"]["name"] == name), None)


def sizes(cluster: Cluster, namespace: str, name: str = "api-pool") -> tuple[int, int] | None:
    """POOL_SIZE and MAX_OVERFLOW of a ConfigMap."""
    found = config_map(cluster, namespace, name)
    if found is None:
        return None
    return int(found["data"]["POOL_SIZE"]), int(found["data"]["MAX_OVERFLOW"])


def wait_for_sizes(
    cluster: Cluster, namespace: str, expected: tuple[int, int], name: str = "api-pool"
) -> None:
    """Wait until a ConfigMap gives these sizes."""
    eventually(lambda: sizes(cluster, namespace, name), lambda seen: seen == expected)


def status(cluster: Cluster, namespace: str, name: str = "orders") -> Manifest:
    """A PoolBudget's status."""
    found: Manifest = cluster.get("poolbudget", name, f"--namespace={namespace}").get("status") or {}
    return found


def condition(cluster: Cluster, namespace: str, kind: str, name: str = "orders") -> Manifest:
    """One condition of a PoolBudget, empty while it is not there."""
    found = status(cluster, namespace, name).get("conditions") or []
    return next((item for item in found if item["type"] == kind), {})


def wait_for_reason(
    cluster: Cluster, namespace: str, kind: str, reason: str, name: str = "orders"
) -> Manifest:
    """Wait until a condition has this reason."""
    return eventually(
        lambda: condition(cluster, namespace, kind, name), lambda seen: seen.get("reason") == reason
    )


def scale(cluster: Cluster, namespace: str, replicas: int, name: str = "api") -> None:
    """`kubectl scale`."""
    cluster.kubectl("scale", f"deployment/{name}", f"--replicas={replicas}", f"--namespace={namespace}")


def wait_for_pods(cluster: Cluster, namespace: str, count: int) -> None:
    """Wait until a namespace has so many pods."""
    eventually(
        lambda: len(cluster.get("pods", f"--namespace={namespace}")["items"]), lambda seen: seen == count
    )


def secret(namespace: str, name: str, **values: str) -> Manifest:
    """A Secret."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
