"""Pods that follow their shares, on the real node: every slot busy, and whatever happens to pods."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.backends import BackendCounter, connections_refused
from cluster.control_plane import ControlPlane
from cluster.node import Node, on_this_machine
from cluster.operator_process import OperatorProcess, allow_in_place
from cluster.postgres import Postgres
from cluster.processes import Workspace
from cluster.stage import Stage
from helpers import (
    Manifest,
    autoscaler,
    budget,
    deployment,
    eventually,
    secret,
    status,
    wait_for_reason,
)
from poolbudget.cluster.pod_annotation import annotation_of, read_grant

USABLE = 155
_LOAD = 60

_SERVER_WENT = ("sqlstate=57P0", "sqlstate=08", "Connection", "cannot switch to state")
"""How clients hear of it: shutting down, starting up, nobody there; in the middle of that, from asyncpg."""


@pytest.fixture
def database(workspace: Workspace, node: Node, namespace: str) -> Iterator[Postgres]:
    made = Postgres(workspace, f"postgres-{namespace}", settings={"max_connections": 170})
    made.execute(f"CREATE ROLE app LOGIN PASSWORD 'app' CONNECTION LIMIT {USABLE}")
    yield made
    made.stop()


@dataclass(frozen=True)
class Place:
    """Where a test happens: a namespace with an operator that may tell pods their shares, and a database.

    What the application complains of goes into the folder `errors`, which outlives its pods.
    """

    cluster: ControlPlane
    operator: OperatorProcess
    node: Node
    workspace: Workspace
    database: Postgres
    namespace: str
    repository: Path
    errors: Path

    @property
    def stage(self) -> Stage:
        """The Deployment `api`."""
        return Stage(self.cluster, self.node, self.namespace)

    @property
    def pods(self) -> Pods:
        """All pods."""
        return Pods(self.stage, self.errors)

    def counted(self) -> BackendCounter:
        """Counts the application's connections, all the time."""
        return BackendCounter(self.database, "app")

    def stayed_within_usable(self, counter: BackendCounter) -> bool:
        """Never more than usable, and nobody was refused."""
        refused = connections_refused(self.workspace, self.database)
        print(f"{max(counter.counts)} of {USABLE} open at most, {len(refused)} refused")
        return max(counter.counts) <= USABLE and not refused


@pytest.fixture
def place(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    node: Node,
    workspace: Workspace,
    database: Postgres,
    namespace: str,
    repository: Path,
    tmp_path: Path,
) -> Place:
    allow_in_place(control_plane)
    control_plane.apply(
        secret(namespace, "database", url=database.url("app", "postgres", "app")),
        secret(namespace, "monitor", url=database.url()),
    )
    return Place(control_plane, operator, node, workspace, database, namespace, repository, tmp_path)


def application(place: Place, seconds: float = 0.3, name: str = "api", load: int = _LOAD) -> Manifest:
    """The sample's application, with its volume: so many clients at a time, each with such transactions."""
    manifest = deployment(place.namespace, name)
    del manifest["spec"]["replicas"]
    manifest["spec"]["strategy"] = {"type": "RollingUpdate"}
    folder = place.repository / "deploy" / "samples" / "in-place"
    spec = on_this_machine(manifest["spec"]["template"]["spec"], [str(folder / "application.py")])
    container = spec["containers"][0]
    aside = f'exec "$0" "$@" 2>>{place.errors}/$HOSTNAME'
    container["command"] = ["/bin/sh", "-c", aside, *container["command"]]
    container["env"] = [
        {"name": "LOAD", "value": str(load)},
        {"name": "SECONDS_PER_TRANSACTION", "value": str(seconds)},
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}},
    ]
    path = f"metadata.annotations['{annotation_of('orders')}']"
    items = [
        {"path": "orders", "fieldRef": {"fieldPath": path}},
        {"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}},
    ]
    sources = [{"configMap": {"name": f"{name}-pool"}}, {"downwardAPI": {"items": items}}]
    spec["volumes"] += [
        {"name": "program", "hostPath": {"path": str(folder)}},
        {"name": "errors", "hostPath": {"path": str(place.errors)}},
        {"name": "poolbudget", "projected": {"sources": sources}},
    ]
    container["volumeMounts"] += [
        {"name": "program", "mountPath": str(folder), "readOnly": True},
        {"name": "errors", "mountPath": str(place.errors)},
        {"name": "poolbudget", "mountPath": "/etc/poolbudget"},
    ]
    manifest["spec"]["template"]["spec"] = spec
    return manifest


def in_place_budget(place: Place, names: tuple[str, ...] = ("api",), **spec: str) -> Manifest:
    probe = {"urlSecretKeyRef": {"name": "monitor", "key": "url"}}
    return budget(
        place.namespace,
        endpoint={"host": "127.0.0.1", "port": place.database.port},
        capacity={"maxConnections": 170, "probe": probe},
        targets=[{"name": name, "updateMode": "InPlace"} for name in names],
        **spec,
    )


class Pods:
    """What the pods of a stage were told, and what they complain of, also those that are gone."""

    def __init__(self, stage: Stage, errors: Path) -> None:
        self._stage = stage
        self._errors = errors

    def caps(self, name: str = "api") -> list[int]:
        """The cap that each living pod of a Deployment was told, lowest first; 0 for none."""
        found = []
        for pod in self._stage.pods():
            if pod["metadata"]["labels"]["app"] == name and "deletionTimestamp" not in pod["metadata"]:
                text = (pod["metadata"].get("annotations") or {}).get(annotation_of("orders"))
                grant = None if text is None else read_grant(text)
                found.append(0 if grant is None else grant.sizes.cap)
        return sorted(found)

    def errors(self) -> list[str]:
        """Lines with errors, of all containers that ever ran."""
        texts = (file.read_text() for file in sorted(self._errors.iterdir()))
        return [
            line for text in texts for line in text.splitlines() if line.startswith(("error ", "Traceback"))
        ]


class Course:
    """What is done to a workload whose pods follow their shares, and how long each step took."""

    def __init__(self, stage: Stage, pods: Pods, counter: BackendCounter) -> None:
        self._stage = stage
        self._pods = pods
        self._counter = counter

    def scale(self, replicas: int) -> None:
        self._stage.scale(replicas, 12)
        self._stage.wait_for(replicas)
        self._stage.allow_up_to(12)
        self.settle(replicas)

    def settle(self, replicas: int) -> None:
        """Everybody runs, has his share and makes use of it."""
        self._stage.wait_for(replicas)
        began = time.monotonic()
        least = USABLE // replicas - 5
        seen = eventually(
            self._pods.caps,
            lambda seen: len(seen) == replicas and min(seen) >= least and max(seen) - min(seen) <= 1,
        )
        shares = time.monotonic() - began
        eventually(lambda: self._counter.now, lambda seen: seen >= 0.85 * USABLE)
        print(
            f"{replicas} pods: {seen}, shares {shares:.1f} s, in use {time.monotonic() - began:.1f} s later"
        )


def test_every_pod_follows_its_share(place: Place) -> None:
    stage, pods = place.stage, place.pods
    place.cluster.apply(in_place_budget(place), autoscaler(place.namespace, 3, 12), application(place))
    with place.counted() as counter:
        course = Course(stage, pods, counter)
        course.settle(3)
        course.scale(12)
        assert pods.errors() == []
        course.scale(3)
        stage.roll_out()
        course.settle(3)
        assert pods.errors() == []

        _stop_one_pod_for_a_while(stage, place.node, pods, course)

        for pod in stage.pods():
            assert place.node.kill_containers_of(pod["metadata"]["uid"]) > 0
            time.sleep(1)
        course.settle(3)
        assert pods.errors() == []

        stage.scale(6, 12)
        time.sleep(0.3)
        place.operator.stop(signal.SIGKILL)
        time.sleep(1)
        place.operator.start()
        course.settle(6)
        assert pods.errors() == []

        place.database.restart()
        course.settle(6)
        lost = pods.errors()
        course.scale(3)
        assert pods.errors() == lost
        wait_for_reason(place.cluster, place.namespace, "Converged", "PodsFollow")
        found = status(place.cluster, place.namespace)

    # What was under way when the server went cannot go well; everything else has to.
    print(f"{len(lost)} lost with the server's restart: {sorted({line.split(':')[0] for line in lost})}")
    assert [line for line in lost if not any(sign in line for sign in _SERVER_WENT)] == []
    assert place.stayed_within_usable(counter)
    assert found["allocated"] >= 0.95 * USABLE


def test_killed_processes_and_their_successors_stay_within_usable(place: Place) -> None:
    """Statements of 3 s run on after `kill -9`, while the restarted containers connect again."""
    stage, pods = place.stage, place.pods
    place.cluster.apply(
        in_place_budget(place), autoscaler(place.namespace, 3, 3), application(place, seconds=3)
    )
    with place.counted() as counter:
        course = Course(stage, pods, counter)
        course.settle(3)
        for _ in range(2):
            for pod in stage.pods():
                assert place.node.kill_containers_of(pod["metadata"]["uid"]) > 0
            time.sleep(2)
            course.settle(3)
        assert pods.errors() == []
    assert place.stayed_within_usable(counter)


def test_shares_follow_what_is_in_use(place: Place) -> None:
    """One Deployment wants 120 connections, the other one 4: by weight each would get half."""
    pods = place.pods
    names = ("api", "reports")
    place.cluster.apply(in_place_budget(place, names, shareBy="Demand"))
    with place.counted() as counter:
        for name, load in zip(names, (120, 4), strict=True):
            place.cluster.apply(application(place, name=name, load=load))
        began = time.monotonic()
        seen = eventually(
            lambda: loads(place.cluster, place.namespace), lambda seen: seen.get("api", 0.0) > 30
        )
        eventually(lambda: pods.caps("api")[0], lambda cap: cap > 120)
        print(f"{seen} in use, more than 120 of 155 after {time.monotonic() - began:.1f} s")
        assert seen["reports"] < 8
        assert pods.caps("reports")[0] > 4
        assert pods.errors() == []
    assert place.stayed_within_usable(counter)


def loads(cluster: ControlPlane, namespace: str) -> dict[str, float]:
    """The connections in use by Deployment, as the status has them."""
    targets = status(cluster, namespace).get("targets") or []
    return {item["name"]: float(item["load"]) for item in targets if "load" in item}


def _stop_one_pod_for_a_while(stage: Stage, node: Node, pods: Pods, course: Course) -> None:
    """It says nothing for 20 seconds while the others have to make room, and then goes on."""
    pod = stage.pods()[0]
    name = pod["metadata"]["name"]
    stopped = node.processes_of(pod["metadata"]["uid"])
    assert stopped
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        stage.scale(6, 12)
        found = wait_for_reason(stage.cluster, stage.namespace, "Converged", "PodsNotFollowing")
        assert name in found["message"]
        time.sleep(max(0.0, began + 20 - time.monotonic()))
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
    course.settle(6)
    assert pods.errors() == []
    course.scale(3)
