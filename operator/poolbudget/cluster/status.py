"""The status: figures, and a chain of small checks that become the conditions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from poolbudget.capacity.reading import PROBE
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.config_map import published_sizes
from poolbudget.cluster.ledger import ledger_status
from poolbudget.cluster.observed import Observed, reference
from poolbudget.planning.forecast import Forecast, forecast
from poolbudget.planning.inputs import PoolSizes, TargetKey, UpdateMode
from poolbudget.planning.ledger import Ledger
from poolbudget.planning.plan import Fit, Plan, TargetPlan
from poolbudget.resource import API_VERSION, KIND
from poolbudget.resource.conditions import (
    Condition,
    ConditionType,
    Reason,
    false,
    merged,
    ready,
    true,
    unknown,
)
from poolbudget.resource.spec import TargetSpec


@dataclass(frozen=True)
class Facts:
    """What the checks look at."""

    observed: Observed
    plan: Plan
    failed: Mapping[str, ApiError] = field(default_factory=dict)

    @functools.cached_property
    def forecasts(self) -> dict[TargetKey, Forecast]:
        """The next rollout of each target, where that overlaps and the capacity is known."""
        usable, targets = self.observed.usable, self.observed.inputs.targets
        if usable is None:
            return {}
        found = ((target.key, forecast(target, self.plan, usable.connections)) for target in targets)
        return {key: expected for key, expected in found if expected is not None}

    def before(self, kind: ConditionType) -> Condition | None:
        """The condition as it stands in the status for the same spec."""
        old = self.observed.manifest.get("status") or {}
        for item in old.get("conditions") or []:
            if item.get("type") == kind.value and item.get("observedGeneration") == self.observed.generation:
                with contextlib.suppress(KeyError, ValueError):
                    return Condition(kind, item["status"], Reason(item["reason"]), item["message"])
        return None


def capacity_known(facts: Facts) -> Condition:
    """Whether anybody has said how many connections there are; a stale answer is one."""
    observed, kind = facts.observed, ConditionType.CAPACITY_KNOWN
    failure, capacity = observed.reading.failure, observed.capacity
    before = facts.before(kind)
    if observed.spec.capacity.probe is not None and observed.reading.is_empty and before is not None:
        # Just started: what was said before still holds until the probe has looked for itself.
        return before
    if capacity is None or observed.usable is None:
        if failure is None:
            return false(kind, Reason.WAITING_FOR_PROBE, "the database has not answered yet")
        return false(kind, failure.reason, failure.message)
    message = f"{capacity.max_connections} connections; usable: {observed.usable.arithmetic}"
    if observed.usable.warning:
        message = f"{message}. Warning: {observed.usable.warning}"
    if failure is not None:
        message = f"{message}. Last figures kept since {capacity.stale_since}: {failure.message}"
        return true(kind, failure.reason, message)
    return true(kind, Reason.PROBED if capacity.source == PROBE else Reason.DECLARED, message)


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
    if fit is Fit.MAY_EXCEED and plan.allocated > usable:
        return unknown(
            kind,
            Reason.MAY_EXCEED,
            f"{message}: what some pods have read is not known for sure; nothing grows until that fits",
        )
    if fit is Fit.MAY_EXCEED:
        return unknown(
            kind,
            Reason.MAY_EXCEED,
            f"{message}, but {plan.next_step} once the pods of the next step have started at their floors",
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
    for target in facts.plan.targets:
        if target.held_back:
            return false(
                kind,
                Reason.HELD_BY_PODS,
                f"new containers of {target.key} get {target.start_cap} of {target.fair_cap} per pool: pods "
                "that started earlier hold the rest until they restart",
            )
    return true(kind, Reason.PUBLISHED, "every target's ConfigMap gives its fair share")


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
    if observed.neighbours:
        names = ", ".join(neighbour.name for neighbour in observed.neighbours)
        return false(
            kind,
            Reason.ENDPOINT_SHARED,
            f"PoolBudget {names} uses the same endpoint, and each counts on all of it: bind all "
            "targets in one PoolBudget, or lower maxConnections in each",
        )
    return true(kind, Reason.ONLY_BUDGET, "no other PoolBudget uses this endpoint")


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


def new_status(facts: Facts, now: str) -> Object:
    """The whole status, times taken over from the old one where nothing changed."""
    observed, plan = facts.observed, facts.plan
    old = observed.manifest.get("status") or {}
    status: dict[str, Any] = {
        "observedGeneration": observed.generation,
        "conditions": merged(old.get("conditions") or [], conditions(facts), observed.generation, now),
        "capacity": None if observed.capacity is None else observed.capacity.to_status(),
        "usable": None if observed.usable is None else observed.usable.connections,
        "allocated": plan.allocated,
        "pods": plan.pods,
        "maxPods": plan.max_pods,
        "ledger": ledger_status(Ledger(observed.ledger.claim, (), observed.lost)),
        "targets": [_target_status(facts, target) for target in plan.targets],
    }
    return _without_none(status)


def invalid_status(manifest: Object, message: str, now: str) -> Object:
    """The old status with Ready=False: the last good values stay."""
    old = manifest.get("status") or {}
    generation = manifest["metadata"]["generation"]
    condition = false(ConditionType.READY, Reason.INVALID_SPEC, message)
    kept = [item for item in old.get("conditions") or [] if item["type"] != ConditionType.READY.value]
    fresh = merged(old.get("conditions") or [], [condition], generation, now)
    return {**old, "observedGeneration": generation, "conditions": [*fresh, *kept]}


def is_pressing(old: Object, new: Object) -> bool:
    """Whether a new status must be told at once: a condition, the spec, the capacity or the ledger changed.

    Mere counts may wait a moment, so that a burst of pods is a few writes and not hundreds.
    """

    def essence(status: Object) -> object:
        answers = [
            (item.get("type"), item.get("status"), item.get("reason"))
            for item in status.get("conditions") or []
        ]
        return status.get("observedGeneration"), status.get("capacity"), status.get("ledger"), answers

    return essence(old) != essence(new)


def without_times(status: Object) -> Object:
    """A status without its conditions' times, to see whether two say the same."""
    answers = [
        {key: value for key, value in item.items() if key != "lastTransitionTime"}
        for item in status.get("conditions") or []
    ]
    return {**status, "conditions": answers}


async def write_status(api: Api, manifest: Object, status: Object) -> Object:
    """Replace the status; returns the PoolBudget as it is now.

    Raises ApiError; a conflict where the PoolBudget was changed meanwhile.
    """
    budget = reference(manifest)
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": budget.name,
            "namespace": budget.namespace,
            "resourceVersion": manifest["metadata"]["resourceVersion"],
        },
        "status": status,
    }
    return await api.apply(paths.budget_status(budget.namespace, budget.name), body, budget.field_manager)


def _published(facts: Facts, spec: TargetSpec, target: TargetPlan) -> PoolSizes | None:
    """What the target's ConfigMap says now."""
    observed, name = facts.observed, spec.config_map_name
    if spec.update_mode is UpdateMode.OFF or name in observed.foreign:
        return None
    if name not in facts.failed:
        return target.sizes
    live = observed.live.get(name)
    return None if live is None else published_sizes(live)


def _target_status(facts: Facts, target: TargetPlan) -> dict[str, Any]:
    spec = facts.observed.target_spec(target.key)
    sizes = None if spec is None else _published(facts, spec, target)
    return _without_none(
        {
            "kind": target.key.kind,
            "name": target.key.name,
            "pods": target.pods,
            "poolSize": None if sizes is None else sizes.pool_size,
            "maxOverflow": None if sizes is None else sizes.max_overflow,
            "allocated": target.allocated,
            "fairCap": target.fair_cap,
            "configMapName": None if spec is None else spec.config_map_name,
            "sum": target.arithmetic if spec is not None else f"{target.arithmetic}, no longer a target",
            **_forecast_status(facts, target.key),
        }
    )


def _forecast_status(facts: Facts, key: TargetKey) -> dict[str, Any]:
    expected = facts.forecasts.get(key)
    if expected is None:
        return {}
    return {"rolloutWorst": expected.worst, "safeMaxSurge": expected.largest_safe_surge}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _names(keys: Iterable[TargetKey]) -> str:
    return ", ".join(str(key) for key in keys)
