"""What the demonstration plays on: cluster, node, database, operator and the sample manifests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from cluster.control_plane import ControlPlane
from cluster.node import Node, on_this_machine
from cluster.operator_process import REPOSITORY, OperatorProcess, install
from cluster.postgres import Postgres
from cluster.processes import Workspace

NAMESPACE = "shop"
BUDGET = "orders-primary"
WORKLOAD = "orders-api"
CONFIG_MAP = "orders-api-pool"

MAX_CONNECTIONS = 170
USABLE = MAX_CONNECTIONS - 3 - 10 - 2
"""Less what the server keeps for superusers, and what the sample reserves."""


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
        self.operator = OperatorProcess(self.workspace, self.cluster)

    def apply_samples(self) -> None:
        """The manifests of deploy/samples, changed only where the test node differs from others."""
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        self.cluster.kubectl(
            *("create", "secret", "generic", "orders-database", f"--namespace={NAMESPACE}"),
            f"--from-literal=url={self.postgres.url('orders', 'orders', 'orders')}",
        )
        self.cluster.kubectl(
            *("create", "secret", "generic", "orders-monitor", f"--namespace={NAMESPACE}"),
            f"--from-literal=url={self.postgres.url('monitor', 'orders', 'monitor')}",
        )
        manifests = [self._adapted(item) for item in self._samples()]
        # As `kubectl apply -k` does: the containers wait for some seconds until their ConfigMap is there.
        self.cluster.apply(*manifests)
        self.cluster.kubectl(
            "wait", "--for=create", f"configmap/{CONFIG_MAP}", f"--namespace={NAMESPACE}", "--timeout=30s"
        )

    def scale_by_autoscaler(self, least: int, most: int) -> None:
        """Change the autoscaler's bounds; it obeys at once, also without metrics."""
        patch = f'{{"spec": {{"minReplicas": {least}, "maxReplicas": {most}}}}}'
        self.cluster.kubectl("patch", "hpa", WORKLOAD, f"--namespace={NAMESPACE}", f"--patch={patch}")

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

    def _samples(self) -> list[dict[str, Any]]:
        text = self.cluster.kubectl("kustomize", str(REPOSITORY / "deploy" / "samples"))
        return list(yaml.safe_load_all(text))

    def _adapted(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            template["spec"] = on_this_machine(template["spec"], ["/application/application.py"])
        if manifest["kind"] == "PoolBudget":
            manifest["spec"]["endpoint"] = {"host": "127.0.0.1", "port": self.postgres.port}
            manifest["spec"]["capacity"]["probe"]["urlSecretKeyRef"]["name"] = "orders-monitor"
        return manifest
