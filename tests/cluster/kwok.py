"""Simulated nodes for tests of scale: their pods run nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cluster.binaries import program
from cluster.control_plane import ControlPlane

_ANNOTATION = "kwok.x-k8s.io/node"

_NODE_IS_READY = """
conditions:
- {type: Ready, status: "True", reason: Simulated, message: simulated, lastTransitionTime: {{ Now | Quote }}}
"""

_POD_RUNS = """
phase: Running
startTime: {{ Now | Quote }}
conditions:
- {type: Ready, status: "True", lastTransitionTime: {{ Now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
"""


def _stage(name: str, kind: str, conditions: list[dict[str, Any]], then: dict[str, Any]) -> dict[str, Any]:
    """What kwok does to an object once the conditions hold."""
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            "next": then,
        },
    }


_IS_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'
_NOT_READY = {"key": _IS_READY, "operator": "NotIn", "values": ["True"]}
_DELETED = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
_NOT_DELETED = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}

_STAGES = (
    _stage("node-ready", "Node", [_NOT_READY], {"statusTemplate": _NODE_IS_READY}),
    _stage("pod-runs", "Pod", [_NOT_DELETED, _NOT_READY], {"statusTemplate": _POD_RUNS}),
    _stage("pod-goes", "Pod", [_DELETED], {"delete": True}),
)


class Kwok:
    """kwok, looking after every node that carries its annotation."""

    def __init__(self, control_plane: ControlPlane, nodes: int = 1) -> None:
        workspace = control_plane.workspace
        stages = Path(workspace.folder / "kwok.yaml")
        stages.write_text(yaml.safe_dump_all(_STAGES))
        workspace.start(
            "kwok",
            [
                program("kwok"),
                f"--kubeconfig={control_plane.kubeconfig}",
                f"--config={stages}",
                f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
            ],
        )
        names = [f"simulated-{index}" for index in range(nodes)]
        control_plane.apply(*(_node(name) for name in names))
        workspace.wait_until("kwok", lambda: all(_is_ready(control_plane, name) for name in names))


def _is_ready(control_plane: ControlPlane, name: str) -> bool:
    conditions = control_plane.get("node", name)["status"].get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _node(name: str) -> dict[str, Any]:
    resources = {"cpu": "1000", "memory": "1000Gi", "pods": "5000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_ANNOTATION: "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name},
        },
        "status": {"allocatable": resources, "capacity": resources},
    }
