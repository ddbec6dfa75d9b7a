"""Prometheus metrics: what administrators compare and alert on."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from poolbudget.cluster.api import Object
from poolbudget.runtime.index import BudgetKey

_LABELS = ("namespace", "name")


class Metrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reconciles = Counter(
            "poolbudget_reconciles", "Reconciles by their outcome.", ("outcome",), registry=registry
        )
        self.reconcile_seconds = Histogram(
            "poolbudget_reconcile_seconds",
            "Time from reading a PoolBudget to its last write.",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=registry,
        )
        self.config_map_writes = Counter(
            "poolbudget_config_map_writes", "ConfigMaps written.", _LABELS, registry=registry
        )
        self.status_writes = Counter(
            "poolbudget_status_writes", "Statuses written.", _LABELS, registry=registry
        )
        self._gauges = {
            "usable": _gauge("usable_connections", "Connections that the targets share.", registry),
            "allocated": _gauge("allocated_connections", "Connections that all pods may open.", registry),
            "pods": _gauge("pods", "Pods of all targets.", registry),
            "maxPods": _gauge("max_pods", "Pods that fit at their floors.", registry),
        }
        self._capacity = _gauge("capacity_connections", "Connections that the endpoint accepts.", registry)
        self._others = _gauge("others_connections", "Connections that are not the targets'.", registry)
        self._ready = _gauge("ready", "1 where the PoolBudget is ready, else 0.", registry)
        self._shown: set[BudgetKey] = set()

    def show(self, key: BudgetKey, status: Object) -> None:
        """Show a PoolBudget's figures."""
        self._shown.add(key)
        for field, gauge in self._gauges.items():
            if field in status:
                gauge.labels(*key).set(status[field])
        for gauge, field in ((self._capacity, "capacity"), (self._others, "others")):
            if "connections" in (status.get(field) or {}):
                gauge.labels(*key).set(status[field]["connections"])
        conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
        self._ready.labels(*key).set(1 if conditions.get("Ready") == "True" else 0)

    def forget(self, key: BudgetKey) -> None:
        """A PoolBudget is gone: its figures must not stay."""
        if key in self._shown:
            self._shown.discard(key)
            gauges = (*self._gauges.values(), self._capacity, self._others, self._ready)
            for metric in (*gauges, self.config_map_writes, self.status_writes):
                with contextlib.suppress(KeyError):
                    metric.remove(*key)


def _gauge(name: str, description: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(f"poolbudget_{name}", description, _LABELS, registry=registry)
