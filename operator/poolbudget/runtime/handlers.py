"""kopf's part: watching PoolBudgets, workloads, autoscalers and our ConfigMaps, read-only.

Handlers only mark PoolBudgets in the work queue. There are no finalizers, timers or daemons: kopf
never writes to an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from poolbudget.cluster import config_map
from poolbudget.cluster.gather import InvalidSpecError, parse_spec
from poolbudget.cluster.workloads import scale_target
from poolbudget.planning.inputs import TargetKey
from poolbudget.resource import GROUP, PLURAL, VERSION
from poolbudget.runtime.controller import Controller
from poolbudget.runtime.index import BudgetEntry, BudgetKey

_Fingerprint = tuple[str, str, TargetKey]


class Handlers:
    """What to do on each event."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._seen: dict[_Fingerprint, object] = {}
        self._scaled: dict[tuple[str, str], TargetKey] = {}

    def budget_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """A PoolBudget came, changed or went; an own status write is not a change."""
        manifest: Any = event["object"]
        metadata = manifest["metadata"]
        key = BudgetKey(metadata["namespace"], metadata["name"])
        before = self._controller.index.get(key)
        if event["type"] == "DELETED":
            self._controller.queue.mark(key, urgent=True)
            return
        try:
            entry = BudgetEntry.of(metadata["generation"], parse_spec(manifest))
        except InvalidSpecError:
            self._controller.queue.mark(key, urgent=True)
            return
        if before is not None and before.generation == entry.generation:
            return
        self._controller.index.put(key, entry)
        self._controller.queue.mark(key, urgent=True)
        self._controller.mark_endpoint(entry.endpoint)
        if before is not None and before.endpoint != entry.endpoint:
            self._controller.mark_endpoint(before.endpoint)

    def workload_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """A Deployment or StatefulSet: only its own wishes count, its pods are watched by themselves."""
        manifest: Any = event["object"]
        metadata = manifest["metadata"]
        target = TargetKey(manifest["kind"], metadata["name"])
        wishes = (metadata["uid"], metadata.get("generation"))
        self._mark_if_new("workload", metadata["namespace"], target, event, wishes)

    def autoscaler_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """A HorizontalPodAutoscaler: whoever it scales now, and whom it scaled before."""
        manifest: Any = event["object"]
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        target = scale_target(manifest)
        before = self._scaled.get((namespace, name))
        if before is not None and before != target:
            self._mark(namespace, before)
        if event["type"] == "DELETED":
            self._scaled.pop((namespace, name), None)
        else:
            self._scaled[namespace, name] = target
        self._mark_if_new(f"autoscaler {name}", namespace, target, event, repr(manifest["spec"]))

    def config_map_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """One of our ConfigMaps: changed or deleted by hand, or just the echo of our own write."""
        manifest: Any = event["object"]
        metadata = manifest["metadata"]
        budget = config_map.owner(manifest)
        is_echo = event["type"] != "DELETED" and self._controller.is_own_write(
            metadata["namespace"], metadata["name"], metadata["resourceVersion"]
        )
        if budget is not None and not is_echo:
            self._controller.queue.mark(BudgetKey(metadata["namespace"], budget))

    def _mark_if_new(
        self, what: str, namespace: str, target: TargetKey, event: kopf.RawEvent, wishes: object
    ) -> None:
        fingerprint = (what, namespace, target)
        if event["type"] == "DELETED":
            self._seen.pop(fingerprint, None)
        elif self._seen.get(fingerprint) == wishes:
            return
        elif self._controller.index.binding(namespace, target):
            self._seen[fingerprint] = wishes
        self._mark(namespace, target)

    def _mark(self, namespace: str, target: TargetKey) -> None:
        for key in self._controller.index.binding(namespace, target):
            self._controller.queue.mark(key, urgent=True)


def register(registry: kopf.OperatorRegistry, handlers: Callable[[], Handlers]) -> None:
    """Register read-only handlers; `handlers` gives them once the operator has started."""

    def later(method: str) -> Callable[..., Any]:
        # A coroutine, since kopf would run a plain function in a thread.
        async def handle(**kwargs: Any) -> None:
            getattr(handlers(), method)(**kwargs)

        return handle

    for resource, method in (
        ((GROUP, VERSION, PLURAL), "budget_event"),
        (("apps", "v1", "deployments"), "workload_event"),
        (("apps", "v1", "statefulsets"), "workload_event"),
        (("autoscaling", "v2", "horizontalpodautoscalers"), "autoscaler_event"),
        (("", "v1", "configmaps"), "config_map_event"),
    ):
        kopf.on.event(*resource, id=resource[2], registry=registry)(later(method))
