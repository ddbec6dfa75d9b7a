"""Real pods on a real node, against a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import yaml

from cluster.control_plane import Cluster
from cluster.node import Node, on_this_machine
from cluster.operator_process import OperatorProcess
from cluster.postgres import Postgres
from helpers import (
    Manifest,
    autoscaler,
    budget,
    deployment,
    eventually,
    secret,
    sizes,
    status,
    wait_for_reason,
    wait_for_sizes,
)

# Prints what it was given, and waits to be ended.
_REPORTS = (
    "import os, signal; print('sizes', os.environ['POOL_SIZE'], os.environ['MAX_OVERFLOW']); "
    "signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
)


def reporting(namespace: str, replicas: int) -> Manifest:
    """A Deployment whose pods print their sizes."""
    manifest = deployment(namespace, replicas=replicas)
    spec = on_this_machine(manifest["spec"]["template"]["spec"], ["-c", _REPORTS])
    spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": "api-pool"}}]
    manifest["spec"]["template"]["spec"] = spec
    return manifest


def pods(cluster: Cluster, namespace: str) -> list[Manifest]:
    """Pods that are not being deleted, oldest first."""
    items: list[Manifest] = cluster.get("pods", f"--namespace={namespace}")["items"]
    live = [item for item in items if "deletionTimestamp" not in item["metadata"]]
    return sorted(live, key=lambda item: item["metadata"]["creationTimestamp"])


def read_sizes(cluster: Cluster, namespace: str) -> list[str]:
    """What each running pod says that it was given, oldest first."""
    return [
        cluster.kubectl("logs", pod["metadata"]["name"], f"--namespace={namespace}", check=False).strip()
        for pod in pods(cluster, namespace)
    ]


def test_pods_start_with_the_published_sizes_and_new_ones_with_smaller_ones(
    cluster: Cluster, operator: OperatorProcess, node: Node, namespace: str
) -> None:
    # The budget last: what it says first is for a workload that it has seen.
    cluster.apply(autoscaler(namespace, 2, 8), reporting(namespace, 2))
    cluster.apply(budget(namespace))
    # One step of the autoscaler from 2 pods is 4 pods; 4 more may come, and 8 end beside all of them.
    wait_for_sizes(cluster, namespace, (24, 10))
    # Until then kubectl says that they are waiting to start, and what they read is not decided.
    eventually(lambda: read_sizes(cluster, namespace), lambda seen: seen == ["sizes 24 10"] * 2)
    cluster.kubectl(
        *("patch", "hpa", "api", f"--namespace={namespace}"),
        '--patch={"spec": {"minReplicas": 4}}',
    )
    found = eventually(
        lambda: read_sizes(cluster, namespace),
        lambda seen: len(seen) == 4 and all(line.startswith("sizes") for line in seen),
    )
    # What was published at the scaling is what every new pod has read, and not what was there before.
    assert found[:2] == ["sizes 24 10"] * 2
    pool_size, max_overflow = sizes(cluster, namespace) or (0, 0)
    assert found[2:] == [f"sizes {pool_size} {max_overflow}"] * 2
    assert pool_size + max_overflow < 34


def test_a_container_without_its_config_map_waits_and_then_starts(
    cluster: Cluster, operator: OperatorProcess, node: Node, namespace: str
) -> None:
    cluster.apply(reporting(namespace, 1))

    def waiting_reason() -> str:
        found = pods(cluster, namespace)
        states = found[0]["status"].get("containerStatuses", []) if found else []
        reason: str = states[0]["state"].get("waiting", {}).get("reason", "") if states else ""
        return reason

    eventually(waiting_reason, lambda seen: seen == "CreateContainerConfigError")
    cluster.apply(budget(namespace))
    eventually(lambda: read_sizes(cluster, namespace), lambda seen: seen == ["sizes 107 46"])


def test_a_restarted_container_reads_the_sizes_of_then(
    cluster: Cluster, operator: OperatorProcess, node: Node, namespace: str
) -> None:
    cluster.apply(budget(namespace), reporting(namespace, 1))
    eventually(lambda: read_sizes(cluster, namespace), lambda seen: seen == ["sizes 107 46"])
    cluster.apply(budget(namespace, targets=[{"name": "api", "maxPerPool": 10}]))
    wait_for_sizes(cluster, namespace, (7, 3))
    [pod] = pods(cluster, namespace)
    assert node.kill_containers_of(pod["metadata"]["uid"]) > 0
    eventually(lambda: read_sizes(cluster, namespace), lambda seen: seen == ["sizes 7 3"])


def test_the_operator_in_a_pod_with_what_the_manifests_give_it(
    cluster: Cluster,
    operator: OperatorProcess,
    node: Node,
    namespace: str,
    postgres: Postgres,
    repository: Path,
) -> None:
    """deploy/ as it is, but for the image: this machine's Python, on the machine's network."""
    operator.stop()
    try:
        text = cluster.kubectl("kustomize", str(repository / "deploy"))
        manifest = next(item for item in yaml.safe_load_all(text) if item["kind"] == "Deployment")
        template = manifest["spec"]["template"]
        arguments = ["-m", "poolbudget.cli", *template["spec"]["containers"][0].pop("args")]
        spec = on_this_machine(template["spec"], [*arguments, "--health-port=0", "--metrics-port=0"])
        # The machine's Python may be readable by root only.
        spec["securityContext"] = {}
        container = spec["containers"][0]
        for field in ("livenessProbe", "ports"):
            container.pop(field)
        container["securityContext"] = {"readOnlyRootFilesystem": True}
        address = cluster.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
        host, port = address.removeprefix("https://").split(":")
        # No kube-proxy: the address of the service that every pod is told leads nowhere.
        container["env"] = [
            {"name": "KUBERNETES_SERVICE_HOST", "value": host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": port},
        ]
        template["spec"] = spec
        cluster.apply(manifest)
        probe = {"urlSecretKeyRef": {"name": "database"}}
        cluster.apply(secret(namespace, "database", url=postgres.url()))
        asked = budget(namespace, capacity={"probe": probe}, endpoint={"host": "127.0.0.1"})
        cluster.apply(asked, reporting(namespace, 3))
        wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")
        wait_for_sizes(cluster, namespace, (35, 15))
        eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 3)
    finally:
        cluster.kubectl(
            *("delete", "deployment", "poolbudget", "--namespace=poolbudget-system", "--ignore-not-found")
        )
        cluster.kubectl(
            *("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/name=poolbudget"),
            *("--namespace=poolbudget-system", "--timeout=60s"),
        )
        operator.start()
