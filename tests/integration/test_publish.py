"""From workloads to ConfigMaps, on the real API server."""

from __future__ import annotations

import json
import time
from typing import Any

from cluster.control_plane import Cluster
from cluster.operator_process import OperatorProcess
from helpers import (
    autoscaler,
    budget,
    condition,
    config_map,
    deployment,
    eventually,
    scale,
    sizes,
    status,
    wait_for_pods,
    wait_for_reason,
    wait_for_sizes,
)


def test_three_pods_share_155(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")
    wait_for_sizes(cluster, namespace, (35, 15))
    found = eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 3)
    assert (found["usable"], found["allocated"], found["maxPods"]) == (155, 0, 155)
    assert found["targets"][0]["sum"] == "3 pods without a node x 0 = 0"
    manifest = config_map(cluster, namespace)
    assert manifest is not None
    assert manifest["metadata"]["annotations"]["reloader.stakater.com/ignore"] == "true"
    assert "ownerReferences" not in manifest["metadata"]


def test_scaling_up_lowers_at_once_and_down_raises_later(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    scale(cluster, namespace, 9)
    wait_for_sizes(cluster, namespace, (12, 4))
    wait_for_pods(cluster, namespace, 9)
    scale(cluster, namespace, 3)
    wait_for_pods(cluster, namespace, 3)
    wait_for_reason(cluster, namespace, "Converged", "WaitingToRaise")
    assert sizes(cluster, namespace) == (12, 4)
    wait_for_sizes(cluster, namespace, (35, 15))
    wait_for_reason(cluster, namespace, "Converged", "Published")
    notes = {item["note"] for item in _events(cluster, namespace)}
    assert "Deployment/api: 35/15 -> 12/4" in notes
    assert "Deployment/api: 12/4 -> 35/15" in notes


def test_the_autoscalers_next_step_is_kept_free(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), autoscaler(namespace, 3, 30), budget(namespace))
    # One step from 3 is 6 pods; 24 more may come, and 30 end beside them: (155 - 54) / 6.
    wait_for_sizes(cluster, namespace, (12, 4))
    cluster.kubectl(
        *("patch", "hpa", "api", f"--namespace={namespace}", "--type=merge"),
        '--patch={"spec": {"behavior": {"scaleUp": {"policies": '
        '[{"type": "Pods", "value": 2, "periodSeconds": 15}]}}}}',
    )
    wait_for_sizes(cluster, namespace, (14, 6))  # (155 - 55) / 5, after the pause before a raise
    cluster.kubectl("delete", "hpa", "api", f"--namespace={namespace}")
    wait_for_sizes(cluster, namespace, (35, 15))


def sizes_in(cluster: Cluster, namespace: str, name: str = "api-pool") -> dict[str, str]:
    """Of a ConfigMap's data the sizes only."""
    data = (config_map(cluster, namespace, name) or {}).get("data") or {}
    return {key: value for key, value in data.items() if key.endswith(("POOL_SIZE", "MAX_OVERFLOW"))}


def test_hand_edited_and_deleted_config_maps_are_restored(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    for value in ("500", "1", "nonsense"):
        patch = json.dumps({"data": {"POOL_SIZE": value}})
        cluster.kubectl("patch", "configmap", "api-pool", f"--namespace={namespace}", f"--patch={patch}")
        eventually(
            lambda: sizes_in(cluster, namespace),
            lambda seen: seen == {"POOL_SIZE": "35", "MAX_OVERFLOW": "15"},
        )
    cluster.kubectl(
        *("label", "configmap", "api-pool", f"--namespace={namespace}"),
        *("app.kubernetes.io/managed-by-", "poolbudget.io/budget-"),
    )
    eventually(
        lambda: (config_map(cluster, namespace) or {"metadata": {}})["metadata"].get("labels", {}),
        lambda seen: seen.get("poolbudget.io/budget") == "orders",
    )
    cluster.kubectl("delete", "configmap", "api-pool", f"--namespace={namespace}")
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.kubectl("label", "configmap", "api-pool", f"--namespace={namespace}", "team=shop")
    time.sleep(1)
    found = config_map(cluster, namespace)
    assert found is not None
    assert found["metadata"]["labels"]["team"] == "shop"


def test_a_foreign_config_map_is_never_touched(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "api-pool", "namespace": namespace},
        "data": {"POOL_SIZE": "99"},
    }
    cluster.apply(foreign, deployment(namespace))
    before = config_map(cluster, namespace)
    cluster.apply(budget(namespace))
    wait_for_reason(cluster, namespace, "Ready", "ConfigMapNotOurs")
    assert config_map(cluster, namespace) == before
    # Out of the way, ours comes.
    cluster.kubectl("delete", "configmap", "api-pool", f"--namespace={namespace}")
    scale(cluster, namespace, 4)
    wait_for_reason(cluster, namespace, "Ready", "Balanced")


def test_replicas_0_and_back(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace, replicas=0), budget(namespace))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")
    wait_for_sizes(cluster, namespace, (26, 11))  # sized for the 4 pods of a first step
    scale(cluster, namespace, 3)
    wait_for_sizes(cluster, namespace, (35, 15))


def test_a_deployment_deleted_and_recreated(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.kubectl("delete", "deployment", "api", f"--namespace={namespace}")
    found = wait_for_reason(cluster, namespace, "TargetsResolved", "TargetNotFound")
    assert "Deployment/api" in found["message"]
    assert config_map(cluster, namespace) is not None
    cluster.apply(deployment(namespace, replicas=5))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")
    wait_for_sizes(cluster, namespace, (21, 9))


def test_a_missing_target_has_its_config_map_before_it_comes(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(budget(namespace))
    wait_for_reason(cluster, namespace, "TargetsResolved", "TargetNotFound")
    assert sizes(cluster, namespace) is not None


def test_a_stateful_set(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    manifest = deployment(namespace, name="db-client", replicas=2)
    manifest["kind"] = "StatefulSet"
    del manifest["spec"]["strategy"]
    manifest["spec"]["podManagementPolicy"] = "Parallel"
    cluster.apply(manifest, budget(namespace, targets=[{"kind": "StatefulSet", "name": "db-client"}]))
    wait_for_sizes(cluster, namespace, (53, 23), "db-client-pool")
    eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 2)


def test_a_renamed_config_map_leaves_the_old_one_up_to_date(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    renamed = [{"name": "api", "configMap": {"name": "sizes", "keyPrefix": "PRIMARY_"}}]
    cluster.apply(budget(namespace, targets=renamed))
    eventually(
        lambda: sizes_in(cluster, namespace, "sizes"),
        lambda seen: seen == {"PRIMARY_POOL_SIZE": "35", "PRIMARY_MAX_OVERFLOW": "15"},
    )
    # Pods of the old template may still start: what they read must fit, too.
    scale(cluster, namespace, 9)
    wait_for_sizes(cluster, namespace, (12, 4))


def test_a_changed_prefix_keeps_the_former_keys(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.apply(budget(namespace, targets=[{"name": "api", "configMap": {"keyPrefix": "DB_"}}]))
    eventually(
        lambda: sizes_in(cluster, namespace),
        lambda seen: (
            seen
            == {
                "POOL_SIZE": "35",
                "MAX_OVERFLOW": "15",
                "DB_POOL_SIZE": "35",
                "DB_MAX_OVERFLOW": "15",
            }
        ),
    )


def test_off_only_says_what_it_would_do(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace), budget(namespace, targets=[{"name": "api", "updateMode": "Off"}]))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")
    found = eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 3)
    assert found["targets"][0]["fairCap"] == 50
    assert condition(cluster, namespace, "Converged")["reason"] == "Published"
    assert "poolSize" not in found["targets"][0]
    assert config_map(cluster, namespace) is None


def test_a_deleted_budget_leaves_its_config_map(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    manifest = cluster.get("poolbudget", "orders", f"--namespace={namespace}")
    assert "finalizers" not in manifest["metadata"]
    cluster.kubectl("delete", "poolbudget", "orders", f"--namespace={namespace}", "--timeout=10s")
    time.sleep(1)
    assert sizes(cluster, namespace) == (35, 15)
    # Applied again, it takes its ConfigMap over.
    cluster.apply(budget(namespace, targets=[{"name": "api", "maxPerPool": 20}]))
    wait_for_sizes(cluster, namespace, (14, 6))


def test_deletion_policy_delete(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.apply(budget(namespace, deletionPolicy="Delete"))
    eventually(lambda: _owners(cluster, namespace), lambda seen: seen == ["orders"])
    cluster.kubectl("delete", "poolbudget", "orders", f"--namespace={namespace}", "--timeout=10s")
    eventually(lambda: config_map(cluster, namespace), lambda seen: seen is None)


def test_back_to_retain(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace), budget(namespace, deletionPolicy="Delete"))
    eventually(lambda: _owners(cluster, namespace), lambda seen: seen == ["orders"])
    cluster.apply(budget(namespace, deletionPolicy="Retain"))
    eventually(lambda: _owners(cluster, namespace), lambda seen: seen == [])


def test_two_budgets_that_bind_the_same_target_both_say_so(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace), budget(namespace, name="second"))
    for name, other in (("orders", "second"), ("second", "orders")):
        found = wait_for_reason(cluster, namespace, "Exclusive", "TargetBoundTwice", name)
        assert f"Deployment/api is bound by PoolBudget {other} too" in found["message"]

    # Whoever came first writes, and the other one leaves it alone until the first one is gone.
    def reasons() -> dict[str, str]:
        names = ("orders", "second")
        return {name: condition(cluster, namespace, "TargetsResolved", name)["reason"] for name in names}

    seen = eventually(reasons, lambda seen: sorted(seen.values()) == ["AllFound", "ConfigMapTaken"])
    [winner] = [name for name, reason in seen.items() if reason == "AllFound"]
    [loser] = [name for name, reason in seen.items() if reason == "ConfigMapTaken"]
    cluster.kubectl("delete", "poolbudget", winner, f"--namespace={namespace}")
    wait_for_reason(cluster, namespace, "Ready", "Balanced", loser)
    scale(cluster, namespace, 9)
    wait_for_sizes(cluster, namespace, (12, 4))


def test_a_budget_under_another_name_takes_over(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.kubectl("delete", "poolbudget", "orders", f"--namespace={namespace}")
    cluster.apply(budget(namespace, name="renamed"))
    wait_for_reason(cluster, namespace, "Ready", "Balanced", "renamed")
    scale(cluster, namespace, 9)
    wait_for_sizes(cluster, namespace, (12, 4))


def test_a_former_name_is_not_taken_over_while_its_owner_keeps_it(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), deployment(namespace, "web"), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.apply(budget(namespace, targets=[{"name": "api", "configMap": {"name": "fresh"}}]))
    wait_for_sizes(cluster, namespace, (35, 15), "fresh")
    taking = [{"name": "web", "configMap": {"name": "api-pool"}}]
    cluster.apply(budget(namespace, name="other", capacity={"maxConnections": 5000}, targets=taking))
    wait_for_reason(cluster, namespace, "TargetsResolved", "ConfigMapTaken", "other")
    assert sizes(cluster, namespace) == (35, 15)


def test_deleted_and_applied_again_at_once(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace))
    for most in range(40, 50):
        cluster.apply(budget(namespace, targets=[{"name": "api", "maxPerPool": most}]))
        cluster.kubectl("delete", "poolbudget", "orders", f"--namespace={namespace}")
    cluster.apply(budget(namespace, targets=[{"name": "api", "maxPerPool": 10}]))
    wait_for_sizes(cluster, namespace, (7, 3))
    scale(cluster, namespace, 30)
    wait_for_sizes(cluster, namespace, (3, 1))


def test_a_config_map_that_cannot_be_written_is_reported(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_sizes(cluster, namespace, (35, 15))
    patch = ("patch", "configmap", "api-pool", f"--namespace={namespace}", "--patch")
    cluster.kubectl(*patch, '{"immutable": true}')
    scale(cluster, namespace, 9)
    found = wait_for_reason(cluster, namespace, "Ready", "ConfigMapNotWritten")
    assert "immutable" in found["message"]
    [target] = status(cluster, namespace)["targets"]
    assert (target["poolSize"], target["maxOverflow"]) == (35, 15)
    cluster.kubectl("delete", "configmap", "api-pool", f"--namespace={namespace}")
    wait_for_sizes(cluster, namespace, (12, 4))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")


def test_an_autoscaler_that_moves_away_and_back(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), deployment(namespace, "other"), budget(namespace))
    cluster.apply(autoscaler(namespace, 3, 30))
    wait_for_sizes(cluster, namespace, (12, 4))
    for name, expected in (("other", (35, 15)), ("api", (12, 4))):
        moved = autoscaler(namespace, 3, 30)
        moved["spec"]["scaleTargetRef"]["name"] = name
        cluster.apply(moved)
        wait_for_sizes(cluster, namespace, expected)


def test_two_budgets_on_one_endpoint_both_say_so(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), deployment(namespace, "web"), budget(namespace))
    cluster.apply(budget(namespace, name="second", targets=[{"name": "web"}]))
    for name in ("orders", "second"):
        wait_for_reason(cluster, namespace, "Exclusive", "EndpointShared", name)


def test_more_pods_than_fit(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(
        deployment(namespace, replicas=1),
        autoscaler(namespace, 1, 200),
        budget(namespace, reserveFor="MaxReplicas"),
    )
    found = wait_for_reason(cluster, namespace, "Ready", "MaxPodsDoNotFit")
    assert "400 pods may run and need 400 connections at their floors, usable are 155" in found["message"]
    assert status(cluster, namespace)["maxPods"] == 155
    wait_for_sizes(cluster, namespace, (1, 0))


def test_a_quiet_cluster_sees_no_write(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_reason(cluster, namespace, "Converged", "Published")
    eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 3)
    before = _versions(cluster, namespace)
    reconciles = operator.metric("poolbudget_reconciles_total")
    # What happens all the time: objects are touched, and nothing that matters changes.
    for value in range(5):
        cluster.kubectl(
            "annotate", "deployment", "api", f"note={value}", "--overwrite", f"--namespace={namespace}"
        )
        pods = cluster.get("pods", f"--namespace={namespace}")["items"]
        cluster.kubectl(
            *("label", "pod", pods[0]["metadata"]["name"], f"note={value}", "--overwrite"),
            f"--namespace={namespace}",
        )
    eventually(lambda: operator.metric("poolbudget_reconciles_total"), lambda seen: seen > reconciles)
    time.sleep(2)
    assert _versions(cluster, namespace) == before


def test_the_operator_starts_again_without_a_write(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), budget(namespace))
    wait_for_reason(cluster, namespace, "Converged", "Published")
    eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 3)
    cluster.apply(budget(namespace, name="second", targets=[{"name": "other"}]))
    wait_for_reason(cluster, namespace, "Exclusive", "EndpointShared")
    wait_for_reason(cluster, namespace, "Exclusive", "EndpointShared", "second")
    time.sleep(2)
    before = _versions(cluster, namespace)
    operator.stop()
    operator.start()
    eventually(lambda: operator.metric("poolbudget_reconciles_total"), lambda seen: seen >= 1)
    time.sleep(2)
    assert _versions(cluster, namespace) == before
    # What happened while it was down is seen at the start.
    operator.stop()
    scale(cluster, namespace, 9)
    operator.start()
    wait_for_sizes(cluster, namespace, (12, 4))


def test_rights_are_narrow(cluster: Cluster, operator: OperatorProcess) -> None:
    account = "--as=system:serviceaccount:poolbudget-system:poolbudget"

    def may(verb: str, resource: str) -> bool:
        return cluster.kubectl("auth", "can-i", verb, resource, account, check=False).startswith("yes")

    assert may("get", "secrets")
    assert not may("list", "secrets")
    assert not may("watch", "secrets")
    assert not may("delete", "configmaps")
    assert not may("patch", "deployments.apps")
    assert not may("patch", "pods"), "only with deploy/in-place, for InPlace targets"
    assert not may("patch", "poolbudgets.poolbudget.io")


def _owners(cluster: Cluster, namespace: str) -> list[str]:
    found = config_map(cluster, namespace) or {"metadata": {"ownerReferences": [{"name": "none yet"}]}}
    return [item["name"] for item in found["metadata"].get("ownerReferences", [])]


def _events(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = cluster.get("events.v1.events.k8s.io", f"--namespace={namespace}")["items"]
    return [item for item in items if item["reason"] == "SizesPublished"]


def _versions(cluster: Cluster, namespace: str) -> list[str]:
    """ResourceVersions of all that the operator could write, and how many Events there are."""
    found = [
        cluster.get("poolbudget", "orders", f"--namespace={namespace}"),
        config_map(cluster, namespace) or {"metadata": {"resourceVersion": "gone"}},
    ]
    return [item["metadata"]["resourceVersion"] for item in found] + [str(len(_events(cluster, namespace)))]
