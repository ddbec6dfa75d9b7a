"""The operator as a process of this machine, with the rights of its own service account only."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from cluster.control_plane import Cluster
from cluster.processes import Workspace, free_port

REPOSITORY = Path(__file__).parents[2]
_NAMESPACE = "poolbudget-system"
_PATIENCE = 60.0


def install(cluster: Cluster) -> None:
    """Install what `deploy/` brings, but its Deployment: the operator runs beside the cluster."""
    text = cluster.kubectl("kustomize", str(REPOSITORY / "deploy"))
    manifests = [item for item in yaml.safe_load_all(text) if item["kind"] != "Deployment"]
    cluster.apply(*[item for item in manifests if item["kind"] == "Namespace"])
    cluster.apply(*manifests)
    deadline = time.monotonic() + _PATIENCE
    # `kubectl wait` ends with an error where the API server has not written any condition yet.
    while not _is_established(cluster.get("crd", "poolbudgets.poolbudget.io")):
        if time.monotonic() > deadline:
            raise AssertionError(f"the CustomResourceDefinition is not established after {_PATIENCE:.0f} s")
        time.sleep(0.1)


def allow_in_place(cluster: Cluster) -> None:
    """What an installation with InPlace targets has besides."""
    cluster.kubectl("apply", "-k", str(REPOSITORY / "deploy" / "in-place"))


def _is_established(crd: dict[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)


class OperatorProcess:
    """`poolbudget run`, started in a workspace."""

    def __init__(
        self,
        workspace: Workspace,
        cluster: Cluster,
        name: str = "operator",
        *options: str,
        is_traced: bool = True,
    ) -> None:
        self.name = name
        self._options = options
        # What coverage leaves in the environment so that child processes measure themselves.
        untraced = {key: "" for key in os.environ if key.startswith("COVERAGE_PROCESS")}
        self._environment = {} if is_traced else untraced
        self.metrics_port = free_port()
        self._health_port = free_port()
        self._workspace = workspace
        self._kubeconfig = _service_account_kubeconfig(workspace, cluster, name)
        self.start()

    def start(self) -> None:
        """Start it, at first or again, and wait until it is healthy."""
        process = self._workspace.start(
            self.name,
            [
                *(sys.executable, "-m", "poolbudget.cli", "run", "--address=127.0.0.1"),
                f"--metrics-port={self.metrics_port}",
                f"--health-port={self._health_port}",
                *self._options,
            ],
            environment={"KUBECONFIG": str(self._kubeconfig), **self._environment},
        )
        self.pid = process.pid
        self._workspace.wait_until(self.name, self._is_healthy)

    def stop(self, how: signal.Signals | None = None) -> None:
        """End it."""
        self._workspace.stop(self.name, how)

    def log(self) -> str:
        """All that it has said."""
        return self._workspace.tail(self.name, 1_000_000)

    def metric(self, name: str, namespace: str = "") -> float:
        """The sum of a metric over all its labels, or those of one namespace."""
        wanted = f'namespace="{namespace}"' if namespace else ""
        total = 0.0
        for line in _get(f"http://127.0.0.1:{self.metrics_port}/metrics").splitlines():
            if line.split("{")[0].split(" ")[0] == name and wanted in line:
                total += float(line.rsplit(" ", 1)[1])
        return total

    def _is_healthy(self) -> bool:
        try:
            return "running" in _get(f"http://127.0.0.1:{self._health_port}/healthz")
        except OSError:
            return False


def _service_account_kubeconfig(workspace: Workspace, cluster: Cluster, name: str) -> Path:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl(
        "create", "token", "poolbudget", f"--namespace={_NAMESPACE}", "--duration=24h"
    ).strip()
    user = config["contexts"][0]["context"]["user"]
    config["users"] = [{"name": user, "user": {"token": token}}]
    path = workspace.folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text
