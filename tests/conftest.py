"""Fixtures: what is real is started once for all tests, each test gets a namespace of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cluster.binaries import CannotBuild
from cluster.control_plane import Cluster, ControlPlane, wait_for_default_service_account
from cluster.kind import KindCluster, docker_answers
from cluster.node import Node
from cluster.operator_process import OperatorProcess, install
from cluster.packages import MissingPackages
from cluster.postgres import NoPostgres, Postgres
from cluster.processes import Workspace

_missing: dict[str, int] = {}


def unavailable(reason: str) -> NoReturn:
    """A test cannot get what it needs: a failure in CI, elsewhere a skip that is counted."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not to be had, and CI skips nothing: {reason}")
    _missing[reason] = _missing.get(reason, 0) + 1
    pytest.skip(reason)


def pytest_unconfigure() -> None:
    """The last line says what was left out, and why."""
    for reason, count in _missing.items():
        print(f"{count} tests skipped: {reason.splitlines()[0]}")


@pytest.fixture(scope="session")
def workspace() -> Iterator[Workspace]:
    with Workspace("test") as made:
        yield made


@pytest.fixture(scope="session")
def started_cluster(workspace: Workspace) -> Iterator[Cluster | str]:
    """The cluster, or why there is none; kind where a Docker engine answers."""
    if docker_answers():
        kind = KindCluster(workspace.folder)
        yield kind
        kind.close()
        return
    try:
        yield ControlPlane(workspace)
    except CannotBuild as error:
        yield str(error)


@pytest.fixture
def cluster(started_cluster: Cluster | str) -> Cluster:
    if isinstance(started_cluster, str):
        unavailable(started_cluster)
    return started_cluster


@pytest.fixture(scope="session")
def started_operator(workspace: Workspace, started_cluster: Cluster | str) -> OperatorProcess | None:
    if isinstance(started_cluster, str):
        return None
    install(started_cluster)
    return OperatorProcess(workspace, started_cluster)


@pytest.fixture
def operator(cluster: Cluster, started_operator: OperatorProcess | None) -> OperatorProcess:
    assert started_operator is not None
    return started_operator


@pytest.fixture
def control_plane(cluster: Cluster) -> ControlPlane:
    """For tests that need the control plane's own processes, which kind hides in a container."""
    if not isinstance(cluster, ControlPlane):
        unavailable("needs the rig's own control plane, not kind")
    return cluster


@pytest.fixture(scope="session")
def started_node(started_cluster: Cluster | str) -> Node | str:
    if not isinstance(started_cluster, ControlPlane):
        return "a node needs the rig's own control plane"
    if os.geteuid() != 0:
        return "a real node needs root"
    try:
        return Node(started_cluster)
    except (MissingPackages, CannotBuild) as error:
        return str(error)


@pytest.fixture
def node(started_node: Node | str) -> Node:
    if isinstance(started_node, str):
        unavailable(started_node)
    return started_node


@pytest.fixture(scope="session")
def started_postgres(workspace: Workspace) -> Postgres | str:
    try:
        return Postgres(workspace, settings={"max_connections": 170})
    except NoPostgres as error:
        return str(error)


@pytest.fixture
def postgres(started_postgres: Postgres | str) -> Postgres:
    if isinstance(started_postgres, str):
        unavailable(started_postgres)
    return started_postgres


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    wait_for_default_service_account(cluster, name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[1]
