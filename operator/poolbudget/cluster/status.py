"""The status: figures, and the conditions as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.checks import conditions
from poolbudget.cluster.config_map import published_sizes
from poolbudget.cluster.facts import Facts
from poolbudget.cluster.ledger import ledger_status
from poolbudget.cluster.observed import Observed, reference
from poolbudget.planning.inputs import PoolSizes, TargetKey, UpdateMode
from poolbudget.planning.ledger import Ledger
from poolbudget.planning.plan import TargetPlan
from poolbudget.resource import API_VERSION, KIND
from poolbudget.resource.conditions import ConditionType, Reason, false, merged
from poolbudget.resource.target import TargetSpec

_MOST_WARNINGS = 100


def new_status(facts: Facts, warnings: Sequence[dict[str, str]], now: str) -> Object:
    """The whole status, times taken over from the old one where nothing changed."""
    observed, plan = facts.observed, facts.plan
    old = observed.manifest.get("status") or {}
    status: dict[str, Any] = {
        "observedGeneration": observed.generation,
        "conditions": merged(old.get("conditions") or [], conditions(facts), observed.generation, now),
        "capacity": None if observed.capacity is None else observed.capacity.to_status(),
        "usable": None if observed.usable is None else observed.usable.connections,
        "allocated": plan.allocated,
        "others": _others_status(observed),
        "warnings": list(warnings[:_MOST_WARNINGS]),
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
            "load": _load(facts, target.key),
            "configMapName": None if spec is None else spec.config_map_name,
            "sum": target.arithmetic if spec is not None else f"{target.arithmetic}, no longer a target",
            "overridden": _overridden(facts, target.key),
            **_forecast_status(facts, target.key),
        }
    )


def _load(facts: Facts, key: TargetKey) -> str | None:
    """A decimal as text: the API conventions know no fractions."""
    demand = facts.observed.demands.get(key)
    return None if demand is None else f"{demand.planned:.1f}"


def _overridden(facts: Facts, key: TargetKey) -> list[str] | None:
    recipe = facts.observed.recipes.get(key)
    return list(recipe.overridden) if recipe is not None and recipe.overridden else None


def _others_status(observed: Observed) -> dict[str, Any] | None:
    """Who else is connected, as far as the probe has seen; what was known stays while it cannot look."""
    if observed.spec.capacity.probe is None:
        return None
    others = observed.reading.others
    if observed.reading.limits is None or others is None:
        before: dict[str, Any] | None = (observed.manifest.get("status") or {}).get("others")
        return before
    return {
        "connections": others.connections,
        "inDatabase": others.in_database,
        "ofRole": others.of_role,
        "ofPooler": observed.reading.other_clients or 0,
        "largest": [f"{name}: {count}" for name, count in others.largest],
        "exact": others.is_exact,
    }


def _forecast_status(facts: Facts, key: TargetKey) -> dict[str, Any]:
    expected = facts.forecasts.get(key)
    if expected is None:
        return {}
    return {"rolloutWorst": expected.worst, "safeMaxSurge": expected.largest_safe_surge}


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
