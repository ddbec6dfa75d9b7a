"""From the API's words to the planner's."""

from typing import Any

import pytest

from poolbudget.cluster.pod_records import PodRecord, pod_record, stage
from poolbudget.cluster.workloads import autoscaler, autoscaler_of, belongs_to, selects, workload
from poolbudget.planning.inputs import (
    Autoscaler,
    PodStage,
    RolloutLimit,
    ScalingPolicy,
    SelectPolicy,
    TargetKey,
)

API = TargetKey("Deployment", "api")


def deployment(**spec: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "spec": {"selector": {"matchLabels": {"app": "api"}}, **spec}}


@pytest.mark.parametrize(
    ("manifest", "surge"),
    [
        (deployment(), RolloutLimit(25, percent=True)),
        (deployment(strategy={"type": "Recreate"}), RolloutLimit(0)),
        (deployment(strategy={"rollingUpdate": {"maxSurge": 3}}), RolloutLimit(3)),
        (deployment(strategy={"rollingUpdate": {"maxSurge": 0}}), RolloutLimit(0)),
        (deployment(strategy={"rollingUpdate": {"maxSurge": "50%"}}), RolloutLimit(50, percent=True)),
        ({"kind": "StatefulSet", "spec": {}}, RolloutLimit(0)),
    ],
)
def test_surge(manifest: dict[str, Any], surge: RolloutLimit) -> None:
    assert workload(manifest, None).max_surge == surge


def test_replicas_default_to_1() -> None:
    assert workload(deployment(), None).desired == 1
    assert workload(deployment(replicas=0), None).desired == 0


def scaler(name: str, most: int, **spec: Any) -> dict[str, Any]:
    reference = {"kind": "Deployment", "name": name}
    return {"spec": {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": most, **spec}}


def test_autoscalers() -> None:
    assert autoscaler(scaler("api", 9)) == Autoscaler(2, 9)
    policies = [{"type": "Pods", "value": 2, "periodSeconds": 15}]
    behavior = {"scaleUp": {"policies": policies, "selectPolicy": "Min"}}
    limited = autoscaler(scaler("api", 9, behavior=behavior))
    assert limited == Autoscaler(2, 9, (ScalingPolicy("Pods", 2),), SelectPolicy.MIN)
    only_down = autoscaler(scaler("api", 9, behavior={"scaleDown": {}}))
    assert only_down.policies == ()


def test_the_autoscaler_that_goes_furthest_counts() -> None:
    found = autoscaler_of(API, [scaler("other", 99), scaler("api", 5), scaler("api", 9)])
    assert found is not None
    assert found.max_replicas == 9
    assert autoscaler_of(API, []) is None


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"app": "api"}}, True),
        ({"matchLabels": {"app": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["api", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["api"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["api"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({}, False),
    ],
)
def test_selectors(selector: dict[str, Any], expected: bool) -> None:
    assert selects(selector, (("app", "api"), ("tier", "back"))) is expected


def pod(owner: tuple[str, str] | None = None, labels: dict[str, str] | None = None, **rest: Any) -> Any:
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    metadata = {"namespace": "shop", "name": "p", "uid": "u", "resourceVersion": "1", "labels": labels or {}}
    return {"metadata": {**metadata, "ownerReferences": references, **rest.pop("metadata", {})}, **rest}


def record(**arguments: Any) -> PodRecord:
    return pod_record(pod(**arguments))


def test_owners() -> None:
    assert record(owner=("ReplicaSet", "api-5c7"), labels={"pod-template-hash": "5c7"}).owner == API
    assert record(owner=("StatefulSet", "db")).owner == TargetKey("StatefulSet", "db")
    assert record(owner=("ReplicaSet", "by-hand")).owner == TargetKey("ReplicaSet", "by-hand")
    assert record(owner=("Job", "migrate")).owner == TargetKey("Job", "migrate")
    assert record().owner is None


def test_membership_by_owner_else_by_selector() -> None:
    owned = record(owner=("ReplicaSet", "api-5c7"), labels={"pod-template-hash": "5c7"})
    other = record(owner=("ReplicaSet", "web-5c7"), labels={"pod-template-hash": "5c7", "app": "api"})
    orphan = record(labels={"app": "api"})
    assert belongs_to(owned, API, None)
    assert not belongs_to(other, API, deployment())
    assert belongs_to(orphan, API, deployment())
    assert not belongs_to(orphan, API, None)
    job = record(owner=("Job", "migrate"), labels={"app": "api"})
    assert not belongs_to(job, API, deployment())


RUNNING = {"containerStatuses": [{"state": {"running": {}}}]}
WAITING = {"containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError"}}}]}
DELETED = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (pod(status={}), PodStage.STARTING),
        (pod(status={"phase": "Pending", **WAITING}), PodStage.STARTING),
        (pod(status={"phase": "Running", **RUNNING}), PodStage.RUNNING),
        (pod(status={"phase": "Running", **RUNNING}, **DELETED), PodStage.TERMINATING),
        (pod(status={"phase": "Pending"}, **DELETED), PodStage.TERMINATING),
        (pod(status={"phase": "Succeeded"}), None),
        (pod(status={"phase": "Failed"}, **DELETED), None),
        # The phase alone proves nothing while a container is still said to run.
        (pod(status={"phase": "Failed", **RUNNING}), PodStage.RUNNING),
    ],
)
def test_stages(manifest: Any, expected: PodStage | None) -> None:
    assert stage(manifest) is expected
