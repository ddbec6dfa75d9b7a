"""A workload on the real node, and what is done to it."""

from __future__ import annotations

import time

from cluster.control_plane import ControlPlane
from cluster.node import Node
from helpers import Manifest

_PATIENCE = 120.0


class Stage:
    """The Deployment `api` of a namespace, scaled by the bounds of its autoscaler."""

    def __init__(self, cluster: ControlPlane, node: Node, namespace: str) -> None:
        self.cluster = cluster
        self.node = node
        self.namespace = namespace

    def pods(self) -> list[Manifest]:
        items: list[Manifest] = self.cluster.get("pods", f"--namespace={self.namespace}")["items"]
        return items

    def wait_for(self, replicas: int) -> None:
        """So many pods run, and nothing terminates any more."""

        def running() -> tuple[int, int]:
            found = self.pods()
            alive = [pod for pod in found if pod["status"].get("phase") == "Running"]
            return len(found), len([pod for pod in alive if not pod["metadata"].get("deletionTimestamp")])

        deadline = time.monotonic() + _PATIENCE
        while (seen := running()) != (replicas, replicas):
            assert time.monotonic() < deadline, f"{seen} pods and running ones, not {replicas}"
            time.sleep(0.3)

    def scale(self, replicas: int, most: int = 9) -> None:
        """By the autoscaler's bounds, which it obeys at once; `most` is its maximum until then."""
        self.cluster.kubectl(
            *("patch", "hpa", "api", f"--namespace={self.namespace}"),
            f'--patch={{"spec": {{"minReplicas": {replicas}, "maxReplicas": {max(replicas, most)}}}}}',
        )
        if replicas < most:
            self.allow_up_to(replicas)

    def allow_up_to(self, replicas: int) -> None:
        self.cluster.kubectl(
            *("patch", "hpa", "api", f"--namespace={self.namespace}"),
            f'--patch={{"spec": {{"maxReplicas": {replicas}}}}}',
        )

    def roll_out(self) -> None:
        self.cluster.kubectl("rollout", "restart", "deployment/api", f"--namespace={self.namespace}")
        self.cluster.kubectl(
            *("rollout", "status", "deployment/api", f"--namespace={self.namespace}", "--timeout=120s")
        )
