"""The conditions: a chain of small checks, each of which answers one question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from poolbudget.cluster.capacity_condition import capacity_known
from poolbudget.cluster.facts import Facts
from poolbudget.planning.inputs import TargetKey
from poolbudget.planning.plan import Fit
from poolbudget.resource.conditions import (
    Condition,
    ConditionType,
    Reason,
    false,
    ready,
    true,
    unknown,
)
from poolbudget.resource.target import PoolClass

_MOST_NAMES = 5


def targets_resolved(facts: Facts) -> Condition:
    """Whether every target is there and its ConfigMap ours to write."""
    observed, kind = facts.observed, ConditionType.TARGETS_RESOLVED
    for name, owner in observed.foreign.items():
        if owner is None:
            return false(
                kind,
                Reason.CONFIG_MAP_NOT_OURS,
                f"ConfigMap {name} exists and is not PoolBudget's, so it is left alone: delete it, or "
                "give the target another configMap.name",
            )
        return false(
            kind,
            Reason.CONFIG_MAP_TAKEN,
            f"ConfigMap {name} is written by PoolBudget {owner}: give the target another configMap.name",
        )
    for name, error in facts.failed.items():
        return false(
            kind,
            Reason.CONFIG_MAP_NOT_WRITTEN,
            f"ConfigMap {name} could not be written, its last sizes stay: {error.message}",
        )
    for name, error in facts.untold.items():
        return false(
            kind,
            Reason.PODS_NOT_TOLD,
            f"pod {name} could not be told its share, and keeps what it has: {error.message}; an operator "
            "with InPlace targets needs the right to patch pods (deploy/in-place, Helm: inPlace.enabled)",
        )
    if observed.missing:
        return false(
            kind,
            Reason.TARGET_NOT_FOUND,
            f"not found in namespace {observed.reference.namespace}: {_names(observed.missing)}; create "
            "it or correct spec.targets (its ConfigMap is written all the same)",
        )
    return true(kind, Reason.ALL_FOUND, f"{len(observed.spec.targets)} found")


def feasible(facts: Facts) -> Condition:
    """Whether the expected pods fit at their floors."""
    observed, plan, kind = facts.observed, facts.plan, ConditionType.FEASIBLE
    if observed.usable is None:
        return unknown(kind, Reason.CAPACITY_UNKNOWN, "nothing to compare with before capacity is known")
    usable = observed.usable.connections
    if usable <= 0:
        return false(
            kind,
            Reason.NOTHING_USABLE,
            f"nothing is left for the targets: {observed.usable.arithmetic}; lower spec.reserved or "
            "raise max_connections",
        )
    if not plan.feasible:
        return false(
            kind,
            Reason.MAX_PODS_DO_NOT_FIT,
            f"{plan.expected_pods} pods may run and need {plan.floor_sum} connections at their floors, "
            f"usable are {usable}; {plan.max_pods} pods fit: lower the autoscaler's maxReplicas, "
            "minPerPool or workers, or put a pooler in between",
        )
    message = f"{plan.expected_pods} pods may run and need {plan.floor_sum} of {usable} at their floors"
    warnings = list(_rollout_warnings(facts, usable))
    return true(kind, Reason.PODS_FIT, ". Warning: ".join([message, *warnings]))


def _rollout_warnings(facts: Facts, usable: int) -> Iterator[str]:
    """What a rollout of each target would come to, where that is too much."""
    for key, expected in facts.forecasts.items():
        if expected.worst <= usable:
            continue
        advice = (
            "set minReadySeconds to the time that pods take to terminate, or strategy Recreate"
            if expected.largest_safe_surge is None
            else f"a maxSurge of {expected.largest_safe_surge} stays within it"
        )
        yield (
            f"the next rollout of {key} may come to {expected.worst} of {usable} while old pods "
            f"terminate: {advice}"
        )


def within_budget(facts: Facts) -> Condition:
    """Whether what the pods may open fits, and whether that is certain."""
    observed, plan, kind = facts.observed, facts.plan, ConditionType.WITHIN_BUDGET
    if observed.usable is None:
        return unknown(kind, Reason.CAPACITY_UNKNOWN, "nothing to compare with before capacity is known")
    usable = observed.usable.connections
    message = f"allocated {plan.arithmetic} of {usable} usable"
    fit = plan.fit(usable)
    if fit is Fit.EXCEEDS:
        return false(
            kind,
            Reason.ALLOCATED_EXCEEDS,
            f"{message}; at least {plan.certain} may be open for sure: nothing grows until that fits",
        )
    if fit is Fit.MAY_EXCEED:
        why = (
            ": what some pods have read is not known for sure; nothing grows until that fits"
            if plan.allocated > usable
            else f", but {plan.next_step} once the pods of the next step have started at their floors"
        )
        return unknown(kind, Reason.MAY_EXCEED, f"{message}{why}")
    unbounded = [item.key for item in observed.spec.targets if item.pool_class is PoolClass.NULL_POOL]
    if unbounded:
        return unknown(
            kind,
            Reason.UNBOUNDED,
            f"{message}, but a NullPool has no limit: what pods of {_names(unbounded)} open is not "
            "bounded by this PoolBudget",
        )
    if facts.failed:
        names = ", ".join(facts.failed)
        return unknown(
            kind, Reason.CONFIG_MAP_NOT_WRITTEN, f"{message}, but ConfigMap {names} could not be written"
        )
    return true(kind, Reason.ALLOCATED_FITS, message)


def converged(facts: Facts) -> Condition:
    """Whether every target's ConfigMap gives its fair share."""
    kind = ConditionType.CONVERGED
    unpublished = [
        target.key for target in facts.plan.targets if target.sizes is None and target.start is None
    ]
    unpublished = [key for key in unpublished if facts.observed.target_spec(key) is not None]
    if unpublished:
        return false(
            kind,
            Reason.NOT_PUBLISHED,
            f"no ConfigMap before the capacity is known, new containers wait: {_names(unpublished)}; "
            "a target with minPerPool would start with that",
        )
    waiting = [target.key for target in facts.plan.targets if target.waits_to_raise]
    if waiting:
        message = f"a larger share is published once it has been stable: {_names(waiting)}"
        return false(kind, Reason.WAITING_TO_RAISE, message)
    following = _following(facts)
    if following is not None:
        return following
    for target in facts.plan.targets:
        if target.held_back and not target.is_in_place:
            return false(
                kind,
                Reason.HELD_BY_PODS,
                f"new containers of {target.key} get {target.start_cap} of {target.fair_cap} per pool: pods "
                "that started earlier hold the rest until they restart",
            )
    if facts.plan.shares:
        pods = len(facts.plan.shares)
        return true(kind, Reason.PODS_FOLLOW, f"{pods} pods have applied their shares in place")
    return true(kind, Reason.PUBLISHED, "every target's ConfigMap gives its fair share")


def _following(facts: Facts) -> Condition | None:
    """What is missing of pods that follow their shares; None where nothing is."""
    kind, shares = ConditionType.CONVERGED, facts.plan.shares
    pinned = [share.name for share in shares if share.is_pinned]
    pinned += [
        pod.name
        for target in facts.observed.inputs.targets
        for pod in target.pods
        if target.is_in_place and pod.share is None and pod.is_live and pod.is_replica
    ]
    if pinned:
        return false(
            kind,
            Reason.PODS_NOT_FOLLOWING,
            f"{len(pinned)} pods have not applied their share, and keep what they may hold: "
            f"{_some(pinned)}; do they have the volume (PB305), does the application use poolbudget.client, "
            "and are workers and poolsPerWorker what it has?",
        )
    waiting = [share.name for share in shares if share.changes or not share.is_acknowledged]
    waiting += [share.name for share in shares if share.waits_to_grow and share.name not in waiting]
    if waiting:
        message = f"{len(waiting)} of {len(shares)} pods are on the way to their share: {_some(waiting)}"
        return false(kind, Reason.WAITING_FOR_PODS, message)
    return None


def _some(names: list[str]) -> str:
    """The first of many names, in their order, so that a message does not change by itself."""
    listed = sorted(names)[:_MOST_NAMES]
    return ", ".join(listed) + (" and others" if len(names) > _MOST_NAMES else "")


def exclusive(facts: Facts) -> Condition:
    """Whether no other PoolBudget counts on the same connections."""
    observed, kind = facts.observed, ConditionType.EXCLUSIVE
    for neighbour in observed.neighbours:
        if neighbour.shared_targets:
            return false(
                kind,
                Reason.TARGET_BOUND_TWICE,
                f"{_names(neighbour.shared_targets)} is bound by PoolBudget {neighbour.name} too, for the "
                "same endpoint: remove it from one of them",
            )
    if not observed.neighbours:
        return true(kind, Reason.ONLY_BUDGET, "no other PoolBudget uses this server")
    names = ", ".join(neighbour.name for neighbour in observed.neighbours)
    shares = [observed.spec.endpoint.share, *(neighbour.share for neighbour in observed.neighbours)]
    given = [share for share in shares if share is not None]
    if len(given) < len(shares):
        return false(
            kind,
            Reason.ENDPOINT_SHARED,
            f"PoolBudget {names} uses the same server, and whoever has no endpoint.share counts on all of "
            "it: give each its share in percent, or bind all targets in one PoolBudget",
        )
    if sum(given) > 100:
        return false(
            kind,
            Reason.SHARES_EXCEED,
            f"the shares of this PoolBudget and {names} come to {sum(given)} %: each gets its part of that; "
            "lower them to 100 % together",
        )
    return true(kind, Reason.SHARED_BY_SHARES, f"{shares[0]} % of the server, beside PoolBudget {names}")


CHECKS: tuple[Callable[[Facts], Condition], ...] = (
    capacity_known,
    targets_resolved,
    feasible,
    within_budget,
    exclusive,
    converged,
)


def conditions(facts: Facts) -> list[Condition]:
    """Ready, and the answers behind it."""
    answers = [check(facts) for check in CHECKS]
    return [ready(answers), *answers]


def _names(keys: Iterable[TargetKey]) -> str:
    return ", ".join(str(key) for key in keys)
