"""kopf's part: watching PoolBudgets, workloads, autoscalers and our ConfigMaps, read-only.

Handlers only mark PoolBudgets in the work queue. There are no finalizers, timers or daemons: kopf
never writes to an object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from poolbudget.cluster import config_map
from poolbudget.cluster.observed import InvalidSpecError, parse_spec
from poolbudget.cluster.workloads import scale_target
from poolbudget.planning.inputs import TargetKey
from poolbudget.resource import GROUP, PLURAL, VERSION
from poolbudget.runtime.controller import Controller
from poolbudget.runtime.index import BudgetEntry, BudgetKey


class Handlers:
    """What to do on each event."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._workloads: dict[tuple[str, TargetKey], object] = {}
        self._autoscalers: dict[tuple[str, str], tuple[TargetKey, object]] = {}

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
            entry = BudgetEntry.of(metadata, parse_spec(manifest))
        except InvalidSpecError:
            self._controller.queue.mark(key, urgent=True)
            return
        if before is not None and before.version == entry.version:
            return
        self._controller.index.put(key, entry)
        self._controller.queue.mark(key, urgent=True)
        self._controller.mark_servers(entry.servers)
        if before is not None and (before.servers, before.share) != (entry.servers, entry.share):
            self._controller.mark_servers(before.servers)

    def workload_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """A Deployment or StatefulSet: only its own wishes count, its pods are watched by themselves."""
        manifest: Any = event["object"]
        metadata = manifest["metadata"]
        target = TargetKey(manifest["kind"], metadata["name"])
        place = (metadata["namespace"], target)
        wishes = (metadata["uid"], metadata.get("generation"))
        if event["type"] == "DELETED":
            self._workloads.pop(place, None)
        elif self._workloads.get(place) == wishes:
            return
        elif self._controller.index.binding(*place):
            self._workloads[place] = wishes
        self._mark(*place)

    def autoscaler_event(self, event: kopf.RawEvent, **_: Any) -> None:
        """A HorizontalPodAutoscaler: whoever it scales now, and whom it scaled before."""
        manifest: Any = event["object"]
        metadata = manifest["metadata"]
        place = (metadata["namespace"], metadata["name"])
        now = (scale_target(manifest), (metadata["uid"], hash(repr(manifest["spec"]))))
        before = self._autoscalers.get(place)
        if event["type"] == "DELETED":
            self._autoscalers.pop(place, None)
        elif before == now:
            return
        else:
            self._autoscalers[place] = now
        for target in {item[0] for item in (before, now) if item is not None}:
            self._mark(place[0], target)

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
