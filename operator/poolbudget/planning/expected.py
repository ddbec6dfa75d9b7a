"""How many pods a target must be ready for."""

from __future__ import annotations

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


def reserved_replicas(workload: Workload, reserve_for: ReserveFor) -> int:
    """Replicas to be ready for, by `reserveFor`; without an autoscaler just `spec.replicas`."""
    autoscaler = workload.autoscaler
    if autoscaler is None or reserve_for is ReserveFor.CURRENT_PODS:
        return workload.desired
    if reserve_for is ReserveFor.NEXT_STEP:
        return next_step(autoscaler, workload.desired)
    return max(workload.desired, autoscaler.max_replicas, autoscaler.min_replicas)


def expected_pods(target: Target, reserve_for: ReserveFor) -> int:
    """Pods that may hold connections at the same time, at least 1.

    Terminating pods count in full beside their replacements: `maxSurge` does not include them
    (kubernetes/kubernetes#95498). The surge counts at all times, since a rollout starts without a
    warning. A target without pods is sized for the first one to come.
    """
    terminating = sum(pod.stage is PodStage.TERMINATING for pod in target.pods)
    live = len(target.pods) - terminating
    if target.workload is None:
        return max(1, terminating + live)
    replicas = reserved_replicas(target.workload, reserve_for)
    asked_for = replicas + target.workload.max_surge.pods(replicas)
    return max(1, terminating + max(live, asked_for))
