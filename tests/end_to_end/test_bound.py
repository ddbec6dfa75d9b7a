"""The bound on the real thing: pods that hold every slot, and a database that would refuse one too many.

The application's role may open as many connections as are usable: a single refusal proves an overrun that
counting every 20 ms might miss.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.backends import BackendCounter, connections_refused
from cluster.control_plane import ControlPlane
from cluster.node import Node, on_this_machine
from cluster.operator_process import OperatorProcess
from cluster.postgres import Postgres
from cluster.processes import Workspace
from cluster.stage import Stage
from helpers import Manifest, autoscaler, budget, deployment, eventually, secret, status, wait_for_reason

USABLE = 155
KILLS = 20


@pytest.fixture
def database(workspace: Workspace, node: Node) -> Iterator[Postgres]:
    made = Postgres(workspace, "bound", settings={"max_connections": 170})
    made.execute(f"CREATE ROLE app LOGIN PASSWORD 'app' CONNECTION LIMIT {USABLE}")
    yield made
    made.stop()


def application(namespace: str, repository: Path, finish: float) -> Manifest:
    """The sample's application, which keeps every slot busy; it takes `finish` seconds to end."""
    manifest = deployment(namespace)
    del manifest["spec"]["replicas"]
    manifest["spec"]["strategy"] = {"type": "RollingUpdate"}
    program = str(repository / "deploy" / "samples" / "application.py")
    spec = on_this_machine(manifest["spec"]["template"]["spec"], [program])
    spec["terminationGracePeriodSeconds"] = 30
    spec["containers"][0]["envFrom"] = [{"configMapRef": {"name": "api-pool"}}]
    spec["containers"][0]["env"] = [
        {"name": "SECONDS_TO_FINISH", "value": str(finish)},
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
    ]
    spec["volumes"].append({"name": "program", "hostPath": {"path": str(Path(program).parent)}})
    spec["containers"][0]["volumeMounts"].append(
        {"name": "program", "mountPath": str(Path(program).parent), "readOnly": True}
    )
    manifest["spec"]["template"]["spec"] = spec
    return manifest


def test_backends_never_exceed_usable(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    node: Node,
    workspace: Workspace,
    database: Postgres,
    namespace: str,
    repository: Path,
) -> None:
    stage = Stage(control_plane, node, namespace)
    control_plane.apply(
        secret(namespace, "database", url=database.url("app", "postgres", "app")),
        budget(namespace),
        autoscaler(namespace, 3, 9),
    )
    wait_for_reason(control_plane, namespace, "Converged", "Published")
    with BackendCounter(database, "app") as counter:
        control_plane.apply(application(namespace, repository, finish=4))
        stage.scale(3)
        stage.allow_up_to(9)
        stage.wait_for(3)
        eventually(lambda: counter.now, lambda seen: seen >= 3)

        for replicas in (6, 9):
            stage.scale(replicas)
            stage.wait_for(replicas)
        # The pods hold what they were given: else nothing would be tested. How much that is hangs on when
        # each of them has started, and a process takes its time until it holds it.
        eventually(lambda: counter.now, lambda seen: seen > USABLE // 4)
        stage.roll_out()
        stage.wait_for(9)
        stage.scale(3)
        stage.wait_for(3)
        stage.allow_up_to(9)

        for pod in stage.pods():
            assert node.kill_containers_of(pod["metadata"]["uid"]) > 0
            time.sleep(1)
        stage.wait_for(3)

        _kill_the_operator_again_and_again(stage, operator)

        stage.scale(6)
        control_plane.restart_api_server()
        stage.wait_for(6)
        wait_for_reason(control_plane, namespace, "WithinBudget", "AllocatedFits")
        found = status(control_plane, namespace)

    assert max(counter.counts) <= USABLE
    assert connections_refused(workspace, database) == []
    assert counter.now <= found["allocated"] <= USABLE


def _kill_the_operator_again_and_again(stage: Stage, operator: OperatorProcess) -> None:
    """At random moments of scaling up and down."""
    accidents = random.Random(4)
    replicas = 3
    for turn in range(KILLS):
        if turn % 4 == 0:
            replicas = 3 if replicas == 6 else 6
            stage.scale(replicas)
            stage.allow_up_to(9)
        time.sleep(accidents.uniform(0.0, 1.5))
        operator.stop(signal.SIGKILL)
        operator.start()
    stage.wait_for(replicas)
