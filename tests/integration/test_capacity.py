"""Capacity from a real PostgreSQL, and every way in which it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.control_plane import Cluster
from cluster.operator_process import OperatorProcess
from cluster.postgres import PgBouncer, Postgres
from cluster.processes import Workspace, free_port
from helpers import (
    Manifest,
    budget,
    condition,
    config_map,
    deployment,
    eventually,
    secret,
    sizes,
    status,
    wait_for_reason,
    wait_for_sizes,
)

PASSWORD = "Pa55-that-nobody-may-see"


def probing(namespace: str, **capacity: object) -> Manifest:
    probe = {"urlSecretKeyRef": {"name": "database", "key": "url"}, "interval": "5s"}
    return budget(namespace, capacity={"probe": probe, **capacity}, endpoint={"host": "127.0.0.1"})


@pytest.fixture
def own_postgres(workspace: Workspace, postgres: Postgres) -> Iterator[Postgres]:
    """A server that a test may stop."""
    server = Postgres(workspace, name=f"postgres-{free_port()}", settings={"max_connections": 170})
    yield server
    server.stop()


def test_the_database_is_asked(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres
) -> None:
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=postgres.url()), probing(namespace)
    )
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")
    wait_for_sizes(cluster, namespace, (35, 15))
    capacity = status(cluster, namespace)["capacity"]
    assert (capacity["maxConnections"], capacity["serverReserved"], capacity["source"]) == (170, 3, "Probe")


def test_one_connection_and_no_more_that_cannot_write(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres, workspace: Workspace
) -> None:
    own_postgres.restart(log_statement="all")
    cluster.apply(secret(namespace, "database", url=own_postgres.url()), probing(namespace))
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")

    def looks() -> int:
        return workspace.log(own_postgres.name).read_text().count("READ ONLY")

    eventually(looks, lambda seen: seen >= 3)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'poolbudget-operator'"
    assert own_postgres.execute(count) == "1"


def test_all_reserves_of_the_server_are_taken_off(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    own_postgres.restart(superuser_reserved_connections=8, **{"rds.rds_superuser_reserved_connections": 2})
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=own_postgres.url()), probing(namespace)
    )
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")
    assert status(cluster, namespace)["usable"] == 170 - 8 - 2 - 10 - 2


def test_a_restart_with_other_settings_is_followed(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=own_postgres.url()), probing(namespace)
    )
    wait_for_sizes(cluster, namespace, (35, 15))
    own_postgres.restart(max_connections=100)
    wait_for_sizes(cluster, namespace, (19, 8))  # (85 - 3) / 3


def test_the_last_figure_stays_while_the_database_is_down(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=own_postgres.url()), probing(namespace)
    )
    wait_for_sizes(cluster, namespace, (35, 15))
    own_postgres.stop()
    found = wait_for_reason(cluster, namespace, "CapacityKnown", "ConnectionRefused")
    assert found["status"] == "True"
    assert "Last figures kept since" in found["message"]
    assert condition(cluster, namespace, "Ready")["status"] == "True"
    # Also across a restart of the operator, which is not even a write.
    before = cluster.get("poolbudget", "orders", f"--namespace={namespace}")
    operator.stop()
    operator.start()
    eventually(lambda: operator.log().count("probing failed: nobody listens"), lambda seen: seen >= 2)
    eventually(lambda: operator.metric("poolbudget_reconciles_total"))
    assert cluster.get("poolbudget", "orders", f"--namespace={namespace}") == before
    assert status(cluster, namespace)["usable"] == 155
    assert sizes(cluster, namespace) == (35, 15)
    own_postgres.start()
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")


def test_before_anybody_answers_no_config_map_and_a_reason(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(deployment(namespace), probing(namespace))
    found = wait_for_reason(cluster, namespace, "Ready", "SecretNotFound")
    assert f"Secret database not found in namespace {namespace}" in found["message"]
    assert config_map(cluster, namespace) is None
    assert condition(cluster, namespace, "Converged")["reason"] == "NotPublished"


def test_with_a_floor_pods_can_start_meanwhile(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    manifest = probing(namespace)
    manifest["spec"]["targets"] = [{"name": "api", "minPerPool": 4}]
    cluster.apply(deployment(namespace), manifest)
    wait_for_reason(cluster, namespace, "Ready", "SecretNotFound")
    wait_for_sizes(cluster, namespace, (3, 1))


def test_a_declared_figure_helps_until_the_probe_answers(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres
) -> None:
    cluster.apply(deployment(namespace), probing(namespace, maxConnections=100))
    wait_for_sizes(cluster, namespace, (19, 8))
    cluster.apply(secret(namespace, "database", url=postgres.url()))
    wait_for_sizes(cluster, namespace, (35, 15))


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("postgresql://postgres:{password}@127.0.0.1:{port}/postgres", "AuthenticationFailed", "check user"),
        (
            "postgresql://postgres:secret@127.0.0.1:{port}/nothing",
            "DatabaseNotFound",
            "check the database's name",
        ),
        ("postgresql://u:{password}@127.0.0.1:1/x", "ConnectionRefused", "nobody listens at 127.0.0.1:1"),
        ("postgresql://u:{password}@no-such-host.invalid/x", "HostNotFound", "check the URL and DNS"),
        (
            "postgresql://u:{password}@127.0.0.1:{port}/postgres?sslmode=require",
            "TlsFailed",
            "check sslmode",
        ),
        ("mysql://u:{password}@db/x", "UrlInvalid", "scheme is 'mysql'"),
    ],
)
def test_each_failure_says_which_and_what_to_do(
    cluster: Cluster,
    operator: OperatorProcess,
    namespace: str,
    postgres: Postgres,
    url: str,
    reason: str,
    words: str,
) -> None:
    filled = url.format(password=PASSWORD, port=postgres.port)
    cluster.apply(deployment(namespace), secret(namespace, "database", url=filled), probing(namespace))
    found = wait_for_reason(cluster, namespace, "Ready", reason)
    assert words in found["message"]
    assert PASSWORD not in cluster.kubectl("get", "poolbudget", "-o", "yaml", f"--namespace={namespace}")
    assert PASSWORD not in operator.log()


def test_a_missing_key_and_then_a_good_one(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres
) -> None:
    cluster.apply(deployment(namespace), secret(namespace, "database", uri="x"), probing(namespace))
    found = wait_for_reason(cluster, namespace, "Ready", "SecretKeyNotFound")
    assert "has no key url (keys: uri)" in found["message"]
    cluster.apply(secret(namespace, "database", url=postgres.url()))
    wait_for_reason(cluster, namespace, "Ready", "Balanced")


def test_a_failure_is_told_in_its_latest_words(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    """The reason stays the same, and what to mend does not."""
    cluster.apply(deployment(namespace), secret(namespace, "database", url="mysql://h/x"), probing(namespace))
    found = wait_for_reason(cluster, namespace, "Ready", "UrlInvalid")
    assert "its scheme is 'mysql'" in found["message"]
    cluster.apply(secret(namespace, "database", url="postgresql:///x"))
    eventually(
        lambda: condition(cluster, namespace, "Ready")["message"], lambda seen: "it names no host" in seen
    )


def test_a_bad_secret_later_keeps_the_last_good_sizes(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres
) -> None:
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=postgres.url()), probing(namespace)
    )
    wait_for_sizes(cluster, namespace, (35, 15))
    cluster.kubectl("delete", "secret", "database", f"--namespace={namespace}")
    wait_for_reason(cluster, namespace, "CapacityKnown", "SecretNotFound")
    assert sizes(cluster, namespace) == (35, 15)


def test_behind_pgbouncer(
    cluster: Cluster, operator: OperatorProcess, namespace: str, postgres: Postgres, workspace: Workspace
) -> None:
    """In transaction mode: no prepared statement of the probe may get lost."""
    pooler = PgBouncer(workspace, postgres, settings={"pool_mode": "transaction"})
    url = f"{pooler.url()}?sslmode=disable"
    cluster.apply(deployment(namespace), secret(namespace, "database", url=url), probing(namespace))
    found = wait_for_reason(cluster, namespace, "CapacityKnown", "PoolerInFront")
    assert "these figures are the server's behind it" in found["message"]
    assert status(cluster, namespace)["usable"] == 155
