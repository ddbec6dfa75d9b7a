"""What the API server says to a PoolBudget: refusals in sentences, defaults, columns."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cluster.control_plane import Cluster
from cluster.operator_process import OperatorProcess
from helpers import budget, eventually

BAD: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": {"host": "postgresql://db:5432/x"}}, "host is a name or an address only"),
    ({"endpoint": {"host": "db", "port": 70000}}, "should be less than or equal to 65535"),
    ({"capacity": {}}, "capacity needs a source: set probe, maxConnections or estimate"),
    ({"capacity": {"maxConnections": 0}}, "should be greater than or equal to 1"),
    (
        {"capacity": {"probe": {"urlSecretKeyRef": {"name": "s"}, "interval": "1s"}}},
        "interval is a duration from 5s to 1h, such as 60s or 1m30s",
    ),
    ({"capacity": {"probe": {"interval": "60s"}}}, "urlSecretKeyRef: Required value"),
    ({"reserveFor": "Everything"}, '"CurrentPods", "NextStep", "MaxReplicas"'),
    ({"poolSizePercent": 0}, "should be greater than or equal to 1"),
    ({"deletionPolicy": "Orphan"}, '"Retain", "Delete"'),
    ({"reserved": {"percent": 99}}, "should be less than or equal to 90"),
    ({"targets": []}, "should have at least 1 items"),
    ({"targets": [{"kind": "DaemonSet", "name": "api"}]}, '"Deployment", "StatefulSet"'),
    ({"targets": [{"name": "api"}, {"name": "api"}]}, "Duplicate value"),
    (
        {"targets": [{"name": "api", "minPerPool": 5, "maxPerPool": 4}]},
        "minPerPool must not exceed maxPerPool",
    ),
    ({"targets": [{"name": "api", "updateMode": "Auto"}]}, '"Off", "Initial"'),
    (
        {"capacity": {"probe": {"urlSecretKeyRef": {"name": "../../other/secrets/private"}}}},
        "urlSecretKeyRef.name in body should match",
    ),
    ({"targets": [{"name": "."}]}, "spec.targets[0].name in body should match"),
    ({"targets": [{"name": "x" * 250}]}, "leaves no room for `-pool`"),
    ({"targets": [{"name": "api", "configMap": {"name": "My_Map"}}]}, "configMap.name in body should match"),
    ({"targets": [{"name": "api", "workers": 0}]}, "should be greater than or equal to 1"),
    (
        {"targets": [{"name": "api", "configMap": {"keyPrefix": "9-"}}]},
        "keyPrefix becomes part of an environment variable's name",
    ),
    (
        {"targets": [{"name": "api"}, {"name": "web", "configMap": {"name": "api-pool"}}]},
        "two targets would write the same ConfigMap",
    ),
    ({"targets": [{"name": f"t{index}"} for index in range(65)]}, "must have at most 64 items"),
    ({"targets": [{"name": "api", "updateMode": "InPlace"}]}, "give the PoolBudget a capacity.probe"),
    ({"shareBy": "Demand"}, "set updateMode InPlace for every target, or shareBy Weight"),
]


@pytest.mark.parametrize(("spec", "words"), BAD, ids=[words[:40] for _, words in BAD])
def test_what_makes_no_sense_is_refused_in_a_sentence(
    cluster: Cluster, operator: OperatorProcess, spec: dict[str, Any], words: str
) -> None:
    answer = cluster.kubectl(
        *("create", "--dry-run=server", "-f", "-"), stdin=_json(budget("default", **spec)), check=False
    )
    assert words in answer


def test_a_long_name_is_refused(cluster: Cluster, operator: OperatorProcess) -> None:
    answer = cluster.apply(budget("default", name="x" * 64), check=False)
    assert "at most 63 characters: it becomes a label" in answer


def test_a_field_that_does_not_exist_is_refused(cluster: Cluster, operator: OperatorProcess) -> None:
    answer = cluster.apply(budget("default", targts=[]), check=False)
    assert 'unknown field "spec.targts"' in answer


def test_defaults_and_short_name(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    minimal = budget(namespace)
    del minimal["spec"]["reserved"]
    cluster.apply(minimal)
    spec = cluster.get("pb", "orders", f"--namespace={namespace}")["spec"]
    assert spec["reserved"] == {"admin": 10, "replication": 0, "percent": 0}
    assert (spec["reserveFor"], spec["poolSizePercent"], spec["deletionPolicy"]) == ("NextStep", 70, "Retain")
    assert spec["endpoint"]["port"] == 5432
    [target] = spec["targets"]
    assert (target["kind"], target["workers"], target["weight"]) == ("Deployment", 1, 1)
    assert target["updateMode"] == "Initial"


def test_columns(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(budget(namespace))
    lines = eventually(
        lambda: cluster.kubectl("get", "poolbudgets", "-o", "wide", f"--namespace={namespace}").splitlines(),
        lambda seen: len(seen) == 2 and "TargetNotFound" in seen[1],
    )
    expected = "NAME READY CAPACITY USABLE ALLOCATED PODS REASON AGE ENDPOINT SOURCE OTHERS MAXPODS"
    assert lines[0].split() == expected.split()
    assert lines[1].split()[:7] == ["orders", "False", "170", "155", "0", "0", "TargetNotFound"]


def test_selectable_fields(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(budget(namespace))
    selector = f"--field-selector=spec.endpoint.host={namespace}.example.internal"
    assert len(cluster.get("poolbudgets", "--all-namespaces", selector)["items"]) == 1


def test_explain(cluster: Cluster, operator: OperatorProcess) -> None:
    text = eventually(
        lambda: cluster.kubectl("explain", "poolbudget.spec.targets.workers", check=False),
        lambda seen: "FIELD: workers" in seen,
    )
    assert "Processes per pod that have pools of their own" in text


def _json(manifest: dict[str, Any]) -> str:
    import json

    return json.dumps(copy.deepcopy(manifest))
