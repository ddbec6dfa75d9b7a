"""One checkout more than a pool may open, with the sizes of a published ConfigMap, on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster.control_plane import Cluster
from cluster.operator_process import OperatorProcess
from cluster.postgres import Postgres
from helpers import budget, config_map, deployment, secret, wait_for_sizes


def run(repository: Path, postgres: Postgres, data: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **data, "DATABASE_URL": postgres.url()}
    return subprocess.run(
        [sys.executable, repository / "deploy" / "samples" / "exhaustion.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_last_checkout_times_out(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres, repository: Path
) -> None:
    probe = {"urlSecretKeyRef": {"name": "database", "key": "url"}, "interval": "5s"}
    settings = {"overrides": {"POOL_TIMEOUT": "2"}}
    cluster.apply(
        secret(namespace, "database", url=postgres.url()),
        deployment(namespace),
        budget(
            namespace,
            endpoint={"host": "127.0.0.1"},
            capacity={"probe": probe},
            targets=[{"name": "api", "configMap": settings}],
        ),
    )
    wait_for_sizes(cluster, namespace, (35, 15))
    data: dict[str, str] = (config_map(cluster, namespace) or {})["data"]
    done = run(repository, postgres, data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pool_size=35 max_overflow=15: 50 held" in done.stdout
    assert "checkout number 51: timed out after 2." in done.stdout


def test_it_fails_where_the_pool_does_not_stop(repository: Path, postgres: Postgres) -> None:
    """A limit of another size than was published is found."""
    sizes = {"POOL_SIZE": "2", "MAX_OVERFLOW": "1", "POOL_TIMEOUT": "0.2"}
    assert run(repository, postgres, sizes).returncode == 0
    hidden = {**sizes, "POOL_CLASS": "NullPool"}
    assert run(repository, postgres, hidden).returncode != 0
