"""Simulated nodes for tests of scale: their pods run nothing."""

from __future__ import annotations

from cluster.binaries import program
from cluster.control_plane import ControlPlane


class Kwok:
    """kwok, looking after every node that carries its annotation."""

    def __init__(self, control_plane: ControlPlane, nodes: int = 1) -> None:
        workspace = control_plane.workspace
        workspace.start(
            "kwok",
            [
                program("kwok"),
                f"--kubeconfig={control_plane.kubeconfig}",
                "--manage-all-nodes=false",
                "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
                "--node-lease-duration-seconds=40",
            ],
        )
        manifests = [_node(f"simulated-{index}") for index in range(nodes)]
        control_plane.apply(*manifests)
        control_plane.kubectl(
            "wait", "--for=condition=Ready", "node", "--selector=type=kwok", "--timeout=60s"
        )


def _node(name: str) -> dict[str, object]:
    resources = {"cpu": "1000", "memory": "1000Gi", "pods": "5000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name},
        },
        "status": {"allocatable": resources, "capacity": resources},
    }
