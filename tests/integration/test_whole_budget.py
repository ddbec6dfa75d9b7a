"""The whole budget on a real API server and real databases: others, roles, poolers, shares, checks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
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
    status,
    wait_for_reason,
    wait_for_sizes,
)


@pytest.fixture
def own_postgres(workspace: Workspace, postgres: Postgres) -> Iterator[Postgres]:
    server = Postgres(workspace, name=f"postgres-{free_port()}", settings={"max_connections": 170})
    server.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
    yield server
    server.stop()


def probing(namespace: str, endpoint: Manifest | None = None, **probe: Any) -> Manifest:
    asked = {"urlSecretKeyRef": {"name": "database", "key": "url"}, "interval": "5s", **probe}
    return budget(namespace, capacity={"probe": asked}, endpoint=endpoint or {"host": "127.0.0.1"})


def usable(cluster: Cluster, namespace: str, expected: int, name: str = "orders") -> Manifest:
    return eventually(lambda: status(cluster, namespace, name), lambda seen: seen.get("usable") == expected)


@contextlib.asynccontextmanager
async def connections(url: str, count: int, name: str) -> AsyncIterator[None]:
    held = [await asyncpg.connect(url, server_settings={"application_name": name}) for _ in range(count)]
    try:
        yield
    finally:
        await asyncio.gather(*(item.close() for item in held))


async def test_others_take_what_they_really_hold(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    """The targets' own role is not among them but for what no pod may open: here none runs."""
    manifest = probing(namespace, applicationRole="app")
    cluster.apply(
        deployment(namespace, replicas=0), secret(namespace, "database", url=own_postgres.url()), manifest
    )
    usable(cluster, namespace, 155)
    async with connections(own_postgres.url(), 40, "metabase"):
        # And the probe itself.
        seen = await asyncio.to_thread(usable, cluster, namespace, 170 - 3 - 41)
    assert seen["others"] == {
        "connections": 41,
        "inDatabase": 41,
        "ofRole": 0,
        "ofPooler": 0,
        "largest": ["metabase (postgres): 40"],
        "exact": True,
    }
    # A lull hands nothing out: they may come back.
    await asyncio.sleep(12)
    assert status(cluster, namespace)["usable"] == 126
    async with connections(own_postgres.url("app"), 50, "orders"):
        await asyncio.to_thread(usable, cluster, namespace, 170 - 3 - 51)


def test_the_limits_of_role_and_database_count(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    own_postgres.execute("ALTER ROLE app CONNECTION LIMIT 60")
    manifest = probing(namespace, applicationRole="app")
    cluster.apply(deployment(namespace), secret(namespace, "database", url=own_postgres.url()), manifest)
    seen = usable(cluster, namespace, 60)
    assert (seen["capacity"]["connections"], seen["capacity"]["roleLimit"]) == (60, 60)
    assert seen["capacity"]["maxConnections"] == 170
    own_postgres.execute("ALTER DATABASE postgres CONNECTION LIMIT 30")
    usable(cluster, namespace, 20)
    own_postgres.execute("ALTER DATABASE postgres CONNECTION LIMIT -1")
    own_postgres.execute("ALTER ROLE app CONNECTION LIMIT -1")
    usable(cluster, namespace, 155)


def test_a_rotated_password_is_followed(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    cluster.apply(
        deployment(namespace), secret(namespace, "database", url=own_postgres.url("app")), probing(namespace)
    )
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")
    own_postgres.execute("ALTER ROLE app PASSWORD 'other'")
    own_postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    wait_for_reason(cluster, namespace, "CapacityKnown", "AuthenticationFailed")
    cluster.apply(secret(namespace, "database", url=own_postgres.url("app", password="other")))
    wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")


def test_an_estimate_says_so_and_the_probe_says_by_how_much_it_was_wrong(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    manifest = probing(namespace, {"host": "127.0.0.1", "provider": "RDS"})
    manifest["spec"]["capacity"]["estimate"] = {"class": "db.t3.small"}
    cluster.apply(deployment(namespace), manifest)
    usable(cluster, namespace, 178 - 5 - 12)
    cluster.apply(secret(namespace, "database", url=own_postgres.url()))
    found = wait_for_reason(cluster, namespace, "CapacityKnown", "Probed")
    assert "The estimate was 198: the server says -14 %" in found["message"]
    assert status(cluster, namespace)["capacity"]["estimate"]["uncertaintyPercent"] == 10


def test_what_nobody_can_estimate(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(budget(namespace, capacity={"estimate": {"class": "db.t3.small"}}))
    found = wait_for_reason(cluster, namespace, "CapacityKnown", "NoEstimate")
    assert "needs endpoint.provider" in found["message"]


def test_both_sides_of_a_pooler(
    cluster: Cluster,
    operator: OperatorProcess,
    namespace: str,
    own_postgres: Postgres,
    workspace: Workspace,
) -> None:
    """By its admin console, whatever the PoolBudget declares."""
    settings = {"pool_mode": "transaction", "max_client_conn": 300, "max_db_connections": 40}
    pooler = PgBouncer(workspace, own_postgres, settings, f"pgbouncer-{free_port()}")
    endpoint = {
        "host": "pgbouncer.example.internal",
        "pooler": {
            "type": "PgBouncer",
            "mode": "Transaction",
            "maxClientConnections": 100,
            "adminUrlSecretKeyRef": {"name": "database", "key": "admin"},
        },
    }
    urls = {"url": own_postgres.url(), "admin": pooler.url(database="pgbouncer")}
    cluster.apply(deployment(namespace), secret(namespace, "database", **urls), probing(namespace, endpoint))
    seen = usable(cluster, namespace, 290)
    assert seen["capacity"]["pooler"] == {
        "clientConnections": 300,
        "serverConnections": 40,
        "sessionConnections": 20,
        "replicas": 1,
        "mode": "Transaction",
        "keepsPrepared": False,
        "serverIdleTimeout": 600,
        "version": "1.18.0",
        "source": "AdminConsole",
    }
    wait_for_sizes(cluster, namespace, (2, 0))
    found = config_map(cluster, namespace)
    assert found is not None
    assert found["data"]["STATEMENT_CACHE_SIZE"] == "0"
    assert condition(cluster, namespace, "CapacityKnown")["reason"] == "Probed"


def test_a_url_to_another_host_is_told(
    cluster: Cluster, operator: OperatorProcess, namespace: str, own_postgres: Postgres
) -> None:
    manifest = probing(namespace, {"host": f"{namespace}.example.internal"})
    cluster.apply(deployment(namespace), secret(namespace, "database", url=own_postgres.url()), manifest)
    found = wait_for_reason(cluster, namespace, "Ready", "EndpointMismatch")
    assert f"leads to 127.0.0.1 and the targets connect to {namespace}.example.internal" in found["message"]
    wait_for_sizes(cluster, namespace, (35, 15))


def sharing(namespace: str, name: str, target: str, share: int | None) -> Manifest:
    endpoint: Manifest = {"host": "127.0.0.1", "server": namespace}
    if share is not None:
        endpoint["share"] = share
    return budget(namespace, name, endpoint=endpoint, targets=[{"name": target}])


def test_two_budgets_on_one_server(cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
    cluster.apply(deployment(namespace, "web"), deployment(namespace, "reports"))
    cluster.apply(sharing(namespace, "web", "web", 60), sharing(namespace, "reports", "reports", None))
    for name in ("web", "reports"):
        wait_for_reason(cluster, namespace, "Exclusive", "EndpointShared", name)
    cluster.apply(sharing(namespace, "reports", "reports", 40))
    for name in ("web", "reports"):
        wait_for_reason(cluster, namespace, "Exclusive", "SharedByShares", name)
    usable(cluster, namespace, 93, "web")
    usable(cluster, namespace, 62, "reports")
    cluster.apply(sharing(namespace, "reports", "reports", 90))
    found = wait_for_reason(cluster, namespace, "Exclusive", "SharesExceed", "web")
    assert "150 %" in found["message"]
    usable(cluster, namespace, 93, "reports")
    usable(cluster, namespace, 62, "web")


def test_settings_overrides_and_keys_for_other_pools(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    """What is asked for no longer goes: an old size would be read by the next container."""
    written = {
        "formats": ["HikariCP"],
        "overrides": {"POOL_RECYCLE": "600"},
        "keys": {"GO_MAX": "{cap}"},
    }
    cluster.apply(deployment(namespace), budget(namespace, targets=[{"name": "api", "configMap": written}]))
    wait_for_sizes(cluster, namespace, (35, 15))
    data = (config_map(cluster, namespace) or {})["data"]
    assert data["SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE"] == data["GO_MAX"] == "50"
    assert data["POOL_RECYCLE"] == "600"
    eventually(
        lambda: status(cluster, namespace).get("targets"),
        lambda seen: bool(seen) and seen[0].get("overridden") == ["POOL_RECYCLE"],
    )
    cluster.apply(budget(namespace))
    eventually(
        lambda: (config_map(cluster, namespace) or {})["data"],
        lambda seen: "GO_MAX" not in seen and "SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE" not in seen,
    )
    assert (config_map(cluster, namespace) or {})["data"]["POOL_RECYCLE"] == "1800"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overrides": {"POOL_SIZE": "9"}}, "bound them by minPerPool and maxPerPool"),
        ({"overrides": {"POOL_SIEZ": "9"}}, "POOL_SIEZ is no engine setting of ours"),
        ({"keys": {"X": "{password}"}}, "{password} is not one of {poolSize}"),
    ],
)
def test_settings_that_make_no_sense(
    cluster: Cluster, operator: OperatorProcess, namespace: str, changes: Manifest, words: str
) -> None:
    """Refused when applied, or told in the status; never written."""
    manifest = budget(namespace, targets=[{"name": "api", "configMap": changes}])
    try:
        cluster.apply(manifest)
    except AssertionError as error:
        assert words in str(error)  # noqa: PT017
        return
    found = wait_for_reason(cluster, namespace, "Ready", "InvalidSpec")
    assert words in found["message"]


def test_a_null_pool_is_reported_as_unbounded(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    cluster.apply(
        deployment(namespace), budget(namespace, targets=[{"name": "api", "poolClass": "NullPool"}])
    )
    found = wait_for_reason(cluster, namespace, "WithinBudget", "Unbounded")
    assert found["status"] == "Unknown"
    eventually(lambda: config_map(cluster, namespace), bool)
    assert (config_map(cluster, namespace) or {})["data"]["POOL_CLASS"] == "NullPool"


def test_findings_are_in_the_status_and_an_event_each(
    cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    """The most common mistake: the pod template does not read the ConfigMap."""
    cluster.apply(deployment(namespace), budget(namespace))
    seen = eventually(
        lambda: {item["code"]: item for item in status(cluster, namespace).get("warnings", [])},
        lambda found: "PB301" in found,
    )
    assert "envFrom" in seen["PB301"]["message"]
    assert seen["PB301"]["severity"] == "Error"

    def posted() -> list[Manifest]:
        events: list[Manifest] = cluster.get("events.events.k8s.io", f"--namespace={namespace}")["items"]
        return [item for item in events if item["note"].startswith("PB301")]

    eventually(posted, lambda found: len(found) == 1)
    operator.stop()
    operator.start()
    cluster.apply(deployment(namespace, replicas=4))
    eventually(lambda: status(cluster, namespace), lambda seen: seen.get("pods") == 4)
    assert len(posted()) == 1
