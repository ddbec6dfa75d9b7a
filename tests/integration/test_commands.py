"""`poolbudget check` and `plan --live`, on the real thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.control_plane import Cluster
from cluster.operator_process import OperatorProcess
from cluster.postgres import PgBouncer, Postgres
from cluster.processes import Workspace
from helpers import autoscaler, budget, deployment, secret, wait_for_pods, wait_for_sizes

PROGRAMS = Path(sys.executable).parent


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / program), *arguments],
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_check_tells_what_a_server_allows_and_who_is_there(postgres: Postgres) -> None:
    done = run("poolbudget", "check", postgres.url())
    assert done.returncode == 0, done.stderr
    assert f"127.0.0.1:{postgres.port}  PostgreSQL 1" in done.stdout
    assert "170 - 3 of the server - 10 for administrators = 157" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100
    assert "secret" not in done.stdout
    in_json = json.loads(run("poolbudget", "check", "-o", "json", DATABASE_URL=postgres.url()).stdout)
    assert (in_json["maxConnections"], in_json["usable"], in_json["pooler"]) == (170, 157, "none")


def test_check_tells_a_pooler_and_its_console(postgres: Postgres, workspace: Workspace) -> None:
    pooler = PgBouncer(workspace, postgres, {"pool_mode": "transaction"}, "pgbouncer-check")
    through = run("poolbudget", "check", f"{pooler.url()}?sslmode=disable")
    assert "a pooler is in front: these are the server's figures" in through.stdout
    console = run("poolbudget", "check", pooler.url(database="pgbouncer"))
    assert console.returncode == 0, console.stderr
    assert "PgBouncer 1." in console.stdout
    assert "pool_mode transaction" in console.stdout


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:hunter22@h/x", "UrlInvalid"),
        ("postgresql://u:hunter22@127.0.0.1:1/x", "ConnectionRefused"),
        ("postgresql://u:hunter22@127.0.0.1:1/pgbouncer", "admin console"),
    ],
)
def test_check_says_what_is_wrong_without_the_password(url: str, words: str) -> None:
    done = run("poolbudget", "check", url)
    assert done.returncode == 1
    assert words in done.stderr
    assert "hunter22" not in done.stdout + done.stderr


def test_plan_looks_at_the_live_cluster(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres
) -> None:
    """As the kubectl plugin: what runs holds what it was charged."""
    probe = {"urlSecretKeyRef": {"name": "database", "key": "url"}, "interval": "5s"}
    cluster.apply(
        secret(namespace, "database", url=postgres.url()),
        deployment(namespace),
        autoscaler(namespace, 3, 6),
        budget(namespace, capacity={"probe": probe}, endpoint={"host": "127.0.0.1"}),
    )
    wait_for_sizes(cluster, namespace, (17, 7))
    wait_for_pods(cluster, namespace, 3)
    done = run(
        *("kubectl-poolbudget", "plan", "--live", "-n", namespace, "-o", "json", "--scale", "api=6"),
        KUBECONFIG=str(cluster.kubeconfig),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = json.loads(done.stdout)
    assert (found["usable"], found["capacitySource"], found["fits"]) == (155, "Probe", True)
    assert found["targets"][0]["podsAfter"] == 6
    # No node here: they hold nothing yet.
    assert [(pod["connections"], bool(pod["why"])) for pod in found["targets"][0]["pods"]] == 3 * [(0, True)]
    none = run("poolbudget", "plan", "--live", KUBECONFIG="/nowhere")
    assert (none.returncode, "no cluster to look at" in none.stderr) == (2, True)
