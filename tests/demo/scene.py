"""What the demonstration plays on: cluster, node, database, operator and the sample manifests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from cluster.control_plane import ControlPlane
from cluster.node import Node, on_this_machine
from cluster.operator_process import REPOSITORY, OperatorProcess, allow_in_place, install
from cluster.postgres import Postgres
from cluster.processes import Workspace
from poolbudget.planning.sizes import split_cap

BUDGET = "orders-primary"
WORKLOAD = "orders-api"
CONFIG_MAP = "orders-api-pool"

MAX_CONNECTIONS = 170
USABLE = MAX_CONNECTIONS - 3 - 10 - 2
"""Less what the server keeps for superusers, and what the sample reserves."""


@dataclass(frozen=True)
class Variant:
    """One way to size pools: a namespace of its own, with the sample manifests of a folder."""

    name: str
    title: str
    samples: str
    has_budget: bool = True

    @property
    def namespace(self) -> str:
        """Where it is played."""
        return f"shop-{self.name}"


FORMULA = Variant("formula", "plain formula: usable / replicas", "samples", has_budget=False)
INITIAL = Variant("initial", "updateMode: Initial", "samples")
IN_PLACE = Variant("in-place", "updateMode: InPlace", "samples/in-place")
VARIANTS = (FORMULA, INITIAL, IN_PLACE)


class Scene:
    """Everything the demonstration needs, started step by step and ended together."""

    def __init__(self) -> None:
        self.workspace = Workspace("demo")
        self.cluster: ControlPlane
        self.node: Node
        self.postgres: Postgres
        self.operator: OperatorProcess

    def start_control_plane(self) -> None:
        """etcd, API server, controllers, scheduler."""
        self.cluster = ControlPlane(self.workspace)

    def start_node(self) -> None:
        """Containerd and the kubelet."""
        self.node = Node(self.cluster)

    def start_database(self) -> None:
        """PostgreSQL, with a role that the application connects as."""
        self.postgres = Postgres(self.workspace, settings={"max_connections": MAX_CONNECTIONS})
        # What is usable is all that the application's role may open: one connection too many is refused.
        self.postgres.execute(f"CREATE ROLE orders LOGIN PASSWORD 'orders' CONNECTION LIMIT {USABLE}")
        self.postgres.execute("CREATE ROLE monitor LOGIN PASSWORD 'monitor'; GRANT pg_monitor TO monitor")
        self.postgres.execute("CREATE DATABASE orders OWNER orders")

    def start_operator(self) -> None:
        """Install `deploy/` and start the operator with its service account's rights."""
        install(self.cluster)
        allow_in_place(self.cluster)
        self.operator = OperatorProcess(self.workspace, self.cluster)

    def apply_samples(self, variant: Variant) -> None:
        """The manifests of a folder of samples, changed only where the test node differs from others."""
        namespace = variant.namespace
        self.cluster.kubectl("create", "namespace", namespace)
        for secret, user in (("orders-database", "orders"), ("orders-monitor", "monitor")):
            self.cluster.kubectl(
                *("create", "secret", "generic", secret, f"--namespace={namespace}"),
                f"--from-literal=url={self.postgres.url(user, 'orders', user)}",
            )
        if not variant.has_budget:
            self.publish(variant, 3)
        # As `kubectl apply -k` does: the containers wait for some seconds until their ConfigMap is there.
        self.cluster.apply(*(self._adapted(item, variant) for item in self._samples(variant)))
        self.cluster.kubectl(
            "wait", "--for=create", f"configmap/{CONFIG_MAP}", f"--namespace={namespace}", "--timeout=30s"
        )

    def publish(self, variant: Variant, replicas: int) -> None:
        """What people do without PoolBudget: one division, for the pods that there are to be."""
        sizes = split_cap(USABLE // replicas, 70)
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CONFIG_MAP, "namespace": variant.namespace},
                "data": {"POOL_SIZE": str(sizes.pool_size), "MAX_OVERFLOW": str(sizes.max_overflow)},
            }
        )

    def scale(self, variant: Variant, least: int, most: int) -> None:
        """Change the autoscaler's bounds; it obeys at once, also without metrics."""
        if not variant.has_budget:
            self.publish(variant, least)
        patch = f'{{"spec": {{"minReplicas": {least}, "maxReplicas": {most}}}}}'
        namespace = f"--namespace={variant.namespace}"
        self.cluster.kubectl("patch", "hpa", WORKLOAD, namespace, f"--patch={patch}")

    def clear(self, variant: Variant) -> None:
        """End a variant's pods, for the next one to have all of the database."""
        self.cluster.kubectl("delete", f"deployment/{WORKLOAD}", f"--namespace={variant.namespace}", "--wait")
        self.cluster.kubectl(
            *("wait", "--for=delete", "pod", "--all", f"--namespace={variant.namespace}", "--timeout=60s")
        )

    @property
    def shown_url(self) -> str:
        """The database's URL without its password."""
        return f"postgresql://monitor@127.0.0.1:{self.postgres.port}/orders"

    def check(self) -> str:
        """What `poolbudget check` says of the database."""
        program = Path(sys.executable).parent / "poolbudget"
        url = self.postgres.url("monitor", "orders", "monitor")
        environment = {**os.environ, "DATABASE_URL": url, "COLUMNS": "100"}
        done = subprocess.run([program, "check"], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.rstrip()

    def close(self) -> None:
        """End everything."""
        self.workspace.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _samples(self, variant: Variant) -> list[dict[str, Any]]:
        text = self.cluster.kubectl("kustomize", str(REPOSITORY / "deploy" / variant.samples))
        kinds = {"PoolBudget"} if not variant.has_budget else set()
        return [item for item in yaml.safe_load_all(text) if item["kind"] not in kinds]

    def _adapted(self, manifest: dict[str, Any], variant: Variant) -> dict[str, Any]:
        manifest["metadata"]["namespace"] = variant.namespace
        if manifest["kind"] == "HorizontalPodAutoscaler":
            manifest["spec"]["maxReplicas"] = 9
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            template["spec"] = on_this_machine(template["spec"], ["/application/application.py"])
        if manifest["kind"] == "PoolBudget":
            manifest["spec"]["endpoint"] = {"host": "127.0.0.1", "port": self.postgres.port}
            manifest["spec"]["capacity"]["probe"]["urlSecretKeyRef"]["name"] = "orders-monitor"
        return manifest
