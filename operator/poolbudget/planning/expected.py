"""Which pods a target must be ready for before they exist."""

from __future__ import annotations

from dataclasses import dataclass

from poolbudget.planning.inputs import (
    Autoscaler,
    PodStage,
    ReserveFor,
    ScalingPolicy,
    SelectPolicy,
    Target,
    Workload,
)

# Kubernetes, pkg/controller/podautoscaler/horizontal.go (scaleUpLimitFactor, scaleUpLimitMinimum):
# an autoscaler without `behavior` at most doubles in one step, or goes to 4.
_LIMIT_FACTOR = 2
_LIMIT_MINIMUM = 4

# Kubernetes, pkg/apis/autoscaling/v2/defaults.go: what `behavior` means where it names no policies.
_DEFAULT_POLICIES = (ScalingPolicy("Pods", 4), ScalingPolicy("Percent", 100))


def next_step(autoscaler: Autoscaler, replicas: int) -> int:
    """The most replicas that the autoscaler asks for in one step up from `replicas`.

    Never below `replicas`, and within the autoscaler's bounds otherwise. A workload at 0 replicas is
    not scaled by an autoscaler at all.
    """
    if replicas == 0:
        return 0
    limit = min(_step_limit(autoscaler, replicas), autoscaler.max_replicas)
    return max(replicas, limit, autoscaler.min_replicas)


def _step_limit(autoscaler: Autoscaler, replicas: int) -> int:
    if autoscaler.policies is None:
        return max(_LIMIT_FACTOR * replicas, _LIMIT_MINIMUM)
    if autoscaler.select is SelectPolicy.DISABLED:
        return replicas
    choose = min if autoscaler.select is SelectPolicy.MIN else max
    policies = autoscaler.policies or _DEFAULT_POLICIES
    return choose(_policy_limit(policy, replicas) for policy in policies)


def _policy_limit(policy: ScalingPolicy, replicas: int) -> int:
    if policy.kind == "Percent":
        return -(-replicas * (100 + policy.value) // 100)
    return replicas + policy.value


@dataclass(frozen=True, slots=True)
class ComingPods:
    """Pods of a target that do not exist yet.

    `starting` of them may read what is published now; for the `reserved` ones room is kept at their
    floor, since a smaller size is published before they start. `missing` of the starting ones are asked for
    already.
    """

    starting: int
    reserved: int
    missing: int = 0


def coming_pods(target: Target, reserve_for: ReserveFor) -> ComingPods:
    """The pods to keep room for, beside those that exist.

    With NextStep the next step may be a rollout's as well as the autoscaler's: it begins without a
    warning, and its pods shall not start with less than those that they replace. Of a workload that does
    not exist yet, or has no pods, as many are expected as an autoscaler starts at once.
    """
    if target.is_former:
        return ComingPods(0, 0)
    workload = target.workload
    unseen = _LIMIT_MINIMUM if reserve_for is ReserveFor.NEXT_STEP else 1
    if workload is None:
        return ComingPods(0 if target.pods else unseen, 0)
    replicas = [pod for pod in target.pods if pod.is_replica]
    live = sum(pod.stage in _LIVE for pod in replicas)
    terminating = sum(pod.stage in _ENDING for pod in replicas)
    possible = _possible_new(workload, live) + _replaceable(workload, terminating)
    if reserve_for is ReserveFor.MAX_REPLICAS:
        return ComingPods(max(possible, 0 if live else 1), 0, max(0, workload.desired - live))
    present = max(live, workload.desired)
    if _is_rolling_out(target):
        present = max(present, workload.desired + workload.max_surge.rounded_up(workload.desired))
    missing = starting = present - live
    if reserve_for is ReserveFor.NEXT_STEP:
        overlap = workload.next_wave if target.is_in_place else workload.in_rollout
        starting += max(_step(workload, present), overlap(present, terminating))
    if not workload.desired and not live:
        starting = max(unseen, starting)
    return ComingPods(starting, max(0, possible - starting), missing)


def _step(workload: Workload, present: int) -> int:
    """Pods that one step of the autoscaler adds."""
    if workload.autoscaler is None:
        return 0
    return max(0, next_step(workload.autoscaler, workload.desired) - present)


def _possible_new(workload: Workload, live: int) -> int:
    """Pods that scaling and a rollout's surge may add. Terminating ones do not count as live."""
    maximum = workload.maximum()
    return max(0, maximum + workload.max_surge.rounded_up(maximum) - live)


def _replaceable(workload: Workload, terminating: int) -> int:
    """Pods that may start while those that they replace still terminate, less those that do so now."""
    return max(0, workload.replaced_beside(workload.maximum()) - terminating)


def _is_rolling_out(target: Target) -> bool:
    """Whether pods of two templates live side by side."""
    return len({pod.template for pod in target.pods if pod.stage in _LIVE and pod.is_replica}) > 1


_LIVE = (PodStage.STARTING, PodStage.RUNNING)
_ENDING = (PodStage.TERMINATING, PodStage.LOST)
