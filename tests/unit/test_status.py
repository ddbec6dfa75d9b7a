"""Conditions: each check, and what the status looks like."""

from dataclasses import replace
from typing import Any

import pytest

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import ServerLimits, usable_connections
from poolbudget.capacity.reading import KnownCapacity, Reading
from poolbudget.cluster.api import ApiError
from poolbudget.cluster.checks import conditions
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.cluster.facts import Facts
from poolbudget.cluster.observed import InvalidSpecError, Neighbour, Observed, parse_spec
from poolbudget.cluster.status import invalid_status, is_pressing, new_status
from poolbudget.planning import (
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    PoolSizes,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
    plan,
)
from poolbudget.planning.ledger import Ledger
from poolbudget.recipes.render import recipe_of
from poolbudget.resource.conditions import Condition, ConditionType, Reason
from poolbudget.resource.spec import PoolBudgetSpec

KEY = TargetKey("Deployment", "api")
SPEC = {
    "endpoint": {"host": "db"},
    "capacity": {"probe": {"urlSecretKeyRef": {"name": "db"}}, "maxConnections": 170},
    "reserved": {"admin": 19},
    "targets": [{"name": "api"}],
}
REFUSED = ProbeFailure(Reason.CONNECTION_REFUSED, "nobody listens at db:5432")


def observed(
    pods: int = 3, max_connections: int | None = 170, stale_since: str | None = None, **changes: Any
) -> Observed:
    spec = PoolBudgetSpec.model_validate(SPEC)
    usable = None
    capacity = None
    if max_connections is not None:
        limits = ServerLimits(max_connections)
        usable = usable_connections(limits, spec.reserved)
        capacity = KnownCapacity(limits, "Probe", "db:5432", "2026-01-01T00:00:00Z", stale_since)
    present = tuple(
        Pod(str(index), f"api-{index}", PodStage.RUNNING, Charge(1, 1, PodCost(1, 0)))
        for index in range(pods)
    )
    target = Target(KEY, TargetBounds(), Workload(pods, RolloutLimit(0)), present)
    manifest = {
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": 4},
        "spec": SPEC,
    }
    base = Observed(
        reference=BudgetReference("shop", "orders", "u"),
        manifest=manifest,
        spec=spec,
        reading=Reading(ServerLimits(170)),
        capacity=capacity,
        usable=usable,
        inputs=Inputs(None if usable is None else usable.connections, (target,)),
        manifests={},
        recipes={KEY: recipe_of(spec.endpoint, spec.targets[0], None, 0)},
        live={},
        foreign={},
        neighbours=(),
        siblings=(),
        ledger=Ledger(),
        histories={},
        lost=(),
        now=0.0,
    )
    return replace(base, **changes)


def answers(view: Observed) -> dict[ConditionType, Condition]:
    return {item.type: item for item in conditions(Facts(view, plan(view.inputs)))}


def test_all_is_well() -> None:
    found = answers(observed())
    assert {item.status for item in found.values()} == {"True"}
    assert found[ConditionType.READY].reason is Reason.BALANCED


@pytest.mark.parametrize(
    ("view", "kind", "status", "reason", "words"),
    [
        (
            observed(max_connections=None, reading=Reading()),
            ConditionType.CAPACITY_KNOWN,
            "False",
            Reason.WAITING_FOR_PROBE,
            "not answered yet",
        ),
        (
            observed(max_connections=None, reading=Reading(failure=REFUSED)),
            ConditionType.CAPACITY_KNOWN,
            "False",
            Reason.CONNECTION_REFUSED,
            "nobody listens at db:5432",
        ),
        (
            observed(manifests={KEY: None}),
            ConditionType.TARGETS_RESOLVED,
            "False",
            Reason.TARGET_NOT_FOUND,
            "not found in namespace shop: Deployment/api",
        ),
        (
            observed(foreign={"api-pool": None}),
            ConditionType.TARGETS_RESOLVED,
            "False",
            Reason.CONFIG_MAP_NOT_OURS,
            "ConfigMap api-pool exists and is not PoolBudget's",
        ),
        (
            observed(foreign={"api-pool": "other"}),
            ConditionType.TARGETS_RESOLVED,
            "False",
            Reason.CONFIG_MAP_TAKEN,
            "written by PoolBudget other",
        ),
        (
            observed(pods=200),
            ConditionType.FEASIBLE,
            "False",
            Reason.MAX_PODS_DO_NOT_FIT,
            "200 pods may run and need 200 connections at their floors, usable are 148; 148 pods fit",
        ),
        (
            observed(max_connections=20),
            ConditionType.FEASIBLE,
            "False",
            Reason.NOTHING_USABLE,
            "20 - 3 of the server - 19 for administrators = 0",
        ),
        (
            observed(pods=200),
            ConditionType.WITHIN_BUDGET,
            "False",
            Reason.ALLOCATED_EXCEEDS,
            "allocated 200 of 148 usable",
        ),
        (
            observed(max_connections=None),
            ConditionType.WITHIN_BUDGET,
            "Unknown",
            Reason.CAPACITY_UNKNOWN,
            "before capacity is known",
        ),
        (
            observed(neighbours=(Neighbour("billing", (KEY,)),)),
            ConditionType.EXCLUSIVE,
            "False",
            Reason.TARGET_BOUND_TWICE,
            "Deployment/api is bound by PoolBudget billing too",
        ),
        (
            observed(neighbours=(Neighbour("billing", ()),)),
            ConditionType.EXCLUSIVE,
            "False",
            Reason.ENDPOINT_SHARED,
            "PoolBudget billing uses the same server",
        ),
        (
            observed(max_connections=None),
            ConditionType.CONVERGED,
            "False",
            Reason.NOT_PUBLISHED,
            "new containers wait: Deployment/api",
        ),
    ],
)
def test_what_is_wrong_is_said(
    view: Observed, kind: ConditionType, status: str, reason: Reason, words: str
) -> None:
    condition = answers(view)[kind]
    assert (condition.status, condition.reason) == (status, reason)
    assert words in condition.message


def test_ready_takes_over_the_first_reason() -> None:
    found = answers(observed(manifests={KEY: None}))
    ready = found[ConditionType.READY]
    assert (ready.status, ready.reason) == ("False", Reason.TARGET_NOT_FOUND)


def test_a_stale_probe_is_said_and_does_not_make_ready_false() -> None:
    since = "2026-01-01T00:05:00Z"
    found = answers(observed(stale_since=since, reading=Reading(ServerLimits(170), REFUSED)))
    known = found[ConditionType.CAPACITY_KNOWN]
    assert (known.status, known.reason) == ("True", Reason.CONNECTION_REFUSED)
    assert f"Last figures kept since {since}" in known.message
    assert found[ConditionType.READY].status == "True"


def test_waiting_to_raise_does_not_make_ready_false() -> None:
    view = observed()
    [target] = view.inputs.targets
    held = replace(target, published=PoolSizes(5, 2))
    view = replace(view, inputs=replace(view.inputs, targets=(held,), may_raise=False))
    found = answers(view)
    assert found[ConditionType.CONVERGED].reason is Reason.WAITING_TO_RAISE
    assert found[ConditionType.READY].status == "True"


def test_the_status_of_a_target() -> None:
    view = observed()
    status = new_status(Facts(view, plan(view.inputs)), [], "2026-01-02T00:00:00Z")
    assert status["observedGeneration"] == 4
    assert (status["usable"], status["allocated"], status["pods"]) == (148, 144, 3)
    [target] = status["targets"]
    assert target == {
        "kind": "Deployment",
        "name": "api",
        "pods": 3,
        "poolSize": 34,
        "maxOverflow": 14,
        "allocated": 144,
        "fairCap": 49,
        "configMapName": "api-pool",
        "sum": "3 pods x (34 + 14) = 144",
    }


def test_before_the_first_look_the_old_answer_stands() -> None:
    """A restart of the operator is not a change."""
    view = observed(stale_since="then", reading=Reading(ServerLimits(170), REFUSED))
    status = new_status(Facts(view, plan(view.inputs)), [], "2026-01-02T00:00:00Z")
    restarted = replace(view, reading=Reading(), manifest={**view.manifest, "status": status})
    assert new_status(Facts(restarted, plan(restarted.inputs)), [], "2026-01-03T00:00:00Z") == status


def test_an_old_answer_that_makes_no_sense_is_none() -> None:
    nonsense = {"conditions": [{"type": "CapacityKnown", "observedGeneration": 4, "reason": "Magic"}]}
    view = observed(reading=Reading())
    view = replace(view, manifest={**view.manifest, "status": nonsense})
    assert answers(view)[ConditionType.CAPACITY_KNOWN].reason is Reason.PROBED


def test_a_config_map_that_could_not_be_written_is_said() -> None:
    view = observed()
    facts = Facts(view, plan(view.inputs), {"api-pool": ApiError(422, "Invalid", "field is immutable")})
    found = {item.type: item for item in conditions(facts)}
    assert found[ConditionType.READY].reason is Reason.CONFIG_MAP_NOT_WRITTEN
    assert "ConfigMap api-pool could not be written, its last sizes stay: field is immutable" in (
        found[ConditionType.READY].message
    )
    assert found[ConditionType.WITHIN_BUDGET].status == "Unknown"
    assert "poolSize" not in new_status(facts, [], "2026-01-02T00:00:00Z")["targets"][0]


def test_times_move_only_when_a_status_changes() -> None:
    view = observed()
    first = new_status(Facts(view, plan(view.inputs)), [], "2026-01-02T00:00:00Z")
    later = replace(view, manifest={**view.manifest, "status": first})
    assert new_status(Facts(later, plan(later.inputs)), [], "2026-01-03T00:00:00Z") == first
    broken = replace(later, manifests={KEY: None})
    second = new_status(Facts(broken, plan(broken.inputs)), [], "2026-01-03T00:00:00Z")
    times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
    assert times["Ready"] == "2026-01-03T00:00:00Z"
    assert times["Feasible"] == "2026-01-02T00:00:00Z"
    assert is_pressing(first, second)


def test_counts_are_not_pressing() -> None:
    three, four = observed(pods=3), observed(pods=4)
    first = new_status(Facts(three, plan(three.inputs)), [], "2026-01-02T00:00:00Z")
    second = new_status(Facts(four, plan(four.inputs)), [], "2026-01-02T00:00:00Z")
    assert first != second
    assert not is_pressing(first, second)


def test_an_invalid_spec_keeps_the_last_good_figures() -> None:
    view = observed()
    status = new_status(Facts(view, plan(view.inputs)), [], "2026-01-02T00:00:00Z")
    manifest = {**view.manifest, "status": status, "spec": {**SPEC, "targets": []}}
    with pytest.raises(InvalidSpecError, match=r"spec\.targets") as caught:
        parse_spec(manifest)
    kept = invalid_status(manifest, str(caught.value), "2026-01-03T00:00:00Z")
    assert kept["targets"] == status["targets"]
    assert kept["conditions"][0]["reason"] == "InvalidSpec"
    assert len(kept["conditions"]) == len(status["conditions"])
