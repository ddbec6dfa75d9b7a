"""Workloads and autoscalers, from the API's words to the planner's."""

from __future__ import annotations

from collections.abc import Iterable

from poolbudget.cluster.api import Object
from poolbudget.cluster.pod_records import Labels, PodRecord
from poolbudget.planning.inputs import (
    Autoscaler,
    RolloutLimit,
    ScalingPolicy,
    SelectPolicy,
    TargetKey,
    Workload,
)

# Kubernetes, pkg/apis/apps/v1/defaults.go: a rolling update that does not say otherwise.
_DEFAULT_LIMIT = "25%"

# Kubernetes, pkg/apis/core/v1/defaults.go: seconds that a pod's containers have to end.
_DEFAULT_GRACE = 30


def workload(manifest: Object, autoscaler: Autoscaler | None) -> Workload:
    """What a Deployment or StatefulSet asks for.

    Only a Deployment's rolling update starts new pods beside old ones; `strategy: Recreate` waits until
    all are gone. Pods that somebody deletes or evicts a ReplicaSet replaces at once, whatever the
    strategy; a StatefulSet never creates a pod before its predecessor is gone.
    """
    spec = manifest["spec"]
    strategy = spec.get("strategy") or {}
    is_rolling = manifest["kind"] == "Deployment" and strategy.get("type") != "Recreate"
    rolling = strategy.get("rollingUpdate") or {}
    return Workload(
        desired=spec.get("replicas", 1),
        max_surge=_limit(rolling, "maxSurge") if is_rolling else RolloutLimit(0),
        autoscaler=autoscaler,
        max_unavailable=_limit(rolling, "maxUnavailable") if is_rolling else RolloutLimit(0),
        waves=_waves(spec) if is_rolling else 0,
        deleted_at_once=RolloutLimit(100 if manifest["kind"] == "Deployment" else 0, percent=True),
    )


def _waves(spec: Object) -> int:
    """Waves of a rolling update that may start while the old pods of the first one still terminate.

    The next wave comes once new pods have been ready for `minReadySeconds`; nothing is known of how long
    they take to become ready, so a second is assumed.
    """
    pod = (spec.get("template") or {}).get("spec") or {}
    grace: int = pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
    between: int = max(1, spec.get("minReadySeconds") or 0)
    return 1 + -(-grace // between)


def _limit(rolling: Object, field: str) -> RolloutLimit:
    value = rolling.get(field, _DEFAULT_LIMIT)
    if isinstance(value, int):
        return RolloutLimit(value)
    return RolloutLimit(int(value.removesuffix("%")), percent=True)


def autoscaler(manifest: Object) -> Autoscaler:
    """A HorizontalPodAutoscaler's bounds and scale-up policies."""
    spec = manifest["spec"]
    scale_up = (spec.get("behavior") or {}).get("scaleUp")
    policies: tuple[ScalingPolicy, ...] | None = None
    select = SelectPolicy.MAX
    if "behavior" in spec:
        listed = (scale_up or {}).get("policies") or []
        policies = tuple(ScalingPolicy(policy["type"], policy["value"]) for policy in listed)
        select = SelectPolicy((scale_up or {}).get("selectPolicy") or "Max")
    return Autoscaler(spec.get("minReplicas", 1), spec["maxReplicas"], policies, select)


def scale_target(manifest: Object) -> TargetKey:
    """The workload that an autoscaler scales."""
    reference = manifest["spec"]["scaleTargetRef"]
    return TargetKey(reference["kind"], reference["name"])


def autoscaler_of(key: TargetKey, autoscalers: Iterable[Object]) -> Autoscaler | None:
    """The autoscaler of a workload; of several the one that may go furthest."""
    matching = [autoscaler(item) for item in autoscalers if scale_target(item) == key]
    return max(matching, key=lambda item: item.max_replicas, default=None)


def belongs_to(pod: PodRecord, key: TargetKey, manifest: Object | None) -> bool:
    """Whether a pod is one of a workload's: by its owner, or by the selector.

    The owner is known even when the workload is gone and its pods still terminate; the selector
    finds pods that lost their owner and may be adopted again.
    """
    if pod.owner is not None:
        return pod.owner == key
    return manifest is not None and selects(manifest["spec"].get("selector") or {}, pod.labels)


def selects(selector: Object, labels: Labels) -> bool:
    """metav1.LabelSelector; an empty one selects nothing here, since workloads need one."""
    have = dict(labels)
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    if not wanted and not expressions:
        return False
    if any(have.get(key) != value for key, value in wanted.items()):
        return False
    return all(_matches(expression, have) for expression in expressions)


def _matches(expression: Object, labels: dict[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
