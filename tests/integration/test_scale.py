"""Many pods on simulated nodes."""

from __future__ import annotations

import time

import psutil
import pytest

from cluster.control_plane import ControlPlane
from cluster.kwok import Kwok
from cluster.operator_process import OperatorProcess
from cluster.processes import Workspace
from helpers import budget, config_map, deployment, eventually, scale, status, wait_for_reason

PODS = 300


@pytest.fixture(scope="module")
def kwok(started_cluster: object) -> Kwok | None:
    return Kwok(started_cluster) if isinstance(started_cluster, ControlPlane) else None


def test_300_pods_are_a_handful_of_writes(
    control_plane: ControlPlane, operator: OperatorProcess, namespace: str, kwok: Kwok
) -> None:
    targets = [{"name": "api", "maxPerPool": 30}]
    control_plane.apply(
        deployment(namespace, replicas=1),
        budget(namespace, capacity={"maxConnections": 5000}, targets=targets),
    )
    wait_for_reason(control_plane, namespace, "Converged", "Published")
    eventually(lambda: status(control_plane, namespace), lambda seen: seen.get("pods") == 1)
    config_maps = operator.metric("poolbudget_config_map_writes_total", namespace)
    statuses = operator.metric("poolbudget_status_writes_total", namespace)
    assert config_maps >= 1
    assert statuses >= 1
    scale(control_plane, namespace, PODS)
    eventually(lambda: status(control_plane, namespace), lambda seen: seen.get("pods") == PODS)
    time.sleep(4)
    assert operator.metric("poolbudget_config_map_writes_total", namespace) - config_maps <= 2
    assert operator.metric("poolbudget_status_writes_total", namespace) - statuses <= 2
    found = config_map(control_plane, namespace)
    assert found is not None
    assert int(found["data"]["POOL_SIZE"]) + int(found["data"]["MAX_OVERFLOW"]) == (4985 - 30 - PODS) // (
        PODS - 1
    )


def test_memory_is_small_when_idle(
    control_plane: ControlPlane, operator: OperatorProcess, workspace: Workspace
) -> None:
    """A second operator, in a namespace without work, since the first one is measured by coverage."""
    idle = OperatorProcess(workspace, control_plane, "idle", "--namespace=kube-public", is_traced=False)
    try:
        time.sleep(2)
        resident = psutil.Process(idle.pid).memory_info().rss / 2**20
    finally:
        idle.stop()
    assert resident < 110, f"{resident:.0f} MiB"
