"""The sample application on real pods: two worker processes each, a primary and a streaming replica."""

from __future__ import annotations

import concurrent.futures
import http.server
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.backends import connections_refused
from cluster.control_plane import ControlPlane
from cluster.node import Node, on_this_machine
from cluster.operator_process import OperatorProcess, allow_in_place
from cluster.postgres import Postgres
from cluster.processes import Workspace
from helpers import Manifest, eventually, secret, status, wait_for_reason

MAX_CONNECTIONS = 60
USABLE = 60 - 3 - 10


class Payments(http.server.BaseHTTPRequestHandler):
    """The payment service: accepts everything, after a while."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"accepted": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def payments() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Payments)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/charge"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def servers(workspace: Workspace, node: Node, repository: Path) -> Iterator[tuple[Postgres, Postgres]]:
    primary = Postgres(workspace, "orders-primary", {"max_connections": MAX_CONNECTIONS})
    primary.execute(f"CREATE ROLE orders LOGIN PASSWORD 'orders' CONNECTION LIMIT {USABLE}")
    primary.execute("CREATE DATABASE orders OWNER orders")
    schema = (repository / "deploy" / "samples" / "orders" / "schema.sql").read_text()
    primary.execute(f"SET ROLE orders; {schema}", "orders")
    replica = primary.replica("orders-replica")
    yield primary, replica
    replica.stop()
    primary.stop()


def adapted(
    manifest: Manifest, namespace: str, folder: Path, payments: str, ports: dict[str, int]
) -> Manifest:
    """The sample's manifest, changed only where the test node differs from others."""
    manifest["metadata"]["namespace"] = namespace
    if manifest["kind"] == "PoolBudget":
        endpoint = {"host": "127.0.0.1", "port": ports[manifest["metadata"]["name"]]}
        manifest["spec"]["endpoint"] = endpoint
        manifest["spec"]["reserved"] = {"admin": 10}
        del manifest["spec"]["capacity"]["estimate"]
        manifest["spec"]["capacity"]["probe"]["interval"] = "5s"
    if manifest["kind"] == "Deployment":
        template = manifest["spec"]["template"]
        container = template["spec"]["containers"][0]
        container["command"][container["command"].index("8000")] = "0"
        container["env"] = [
            {**item, "value": payments} if item["name"] == "PAYMENT_URL" else item
            for item in container["env"]
        ]
        arguments = ["-m", *container["command"], "--app-dir", str(folder)]
        arguments[arguments.index("0.0.0.0")] = "127.0.0.1"
        del container["ports"]
        template["spec"] = on_this_machine(template["spec"], arguments)
    return manifest


def call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_orders(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    namespace: str,
    servers: tuple[Postgres, Postgres],
    payments: str,
    repository: Path,
    workspace: Workspace,
) -> None:
    allow_in_place(control_plane)
    primary, replica = servers
    urls = [server.url("orders", "orders", "orders") for server in servers]
    folder = repository / "deploy" / "samples" / "orders"
    text = control_plane.kubectl("kustomize", str(folder))
    ports = {"orders-primary": primary.port, "orders-replica": replica.port}
    manifests = [adapted(item, namespace, folder, payments, ports) for item in yaml.safe_load_all(text)]
    replicas = json.dumps({"us-east-1": urls[1], "eu-west-1": "postgresql://nobody@127.0.0.1:1/x"})
    monitors = [server.url() for server in servers]
    control_plane.apply(
        secret(namespace, "orders-monitor", primary=monitors[0], replica=monitors[1]),
        secret(namespace, "orders-database", primary=urls[0], replicas=replicas),
        *manifests,
    )
    for name in ports:
        wait_for_reason(control_plane, namespace, "CapacityKnown", "Probed", name)

    def logs() -> list[str]:
        pods = control_plane.get("pods", f"--namespace={namespace}")["items"]
        return [
            control_plane.kubectl("logs", pod["metadata"]["name"], f"--namespace={namespace}", check=False)
            for pod in pods
        ]

    found = eventually(logs, lambda seen: len(seen) == 2 and all(log.count("ready: ") == 2 for log in seen))
    addresses = [re.findall(r"http://127\.0\.0\.1:\d+", log)[0] for log in found]
    assert all(log.count("ready: primary Pool size: ") == 2 for log in found)

    # Two worker processes follow two shares each: 47 connections for 4 pools, at most 10 in one.
    for name in ports:
        wait_for_reason(control_plane, namespace, "Converged", "PodsFollow", name)
    used = call(f"{addresses[0]}/pools")
    assert [used[name]["cap"] for name in ("primary", "replica")] == [10, 10]
    with urllib.request.urlopen(f"{addresses[0]}/metrics", timeout=10) as answer:
        assert 'sqlalchemy_pool_cap{engine="primary"} 10.0' in answer.read().decode()

    # Written at the primary, read at the replica.
    order = call(f"{addresses[0]}/orders", {"tenant_id": "acme", "total_cents": 4200})
    seen = eventually(lambda: call(f"{addresses[1]}/tenants/acme/orders"))
    assert seen == [{"id": order["id"], "total_cents": 4200, "is_paid": False}]
    assert call(f"{addresses[1]}/tenants/acme/total") == {"total_cents": 4200}
    assert call(f"{addresses[0]}/orders/{order['id']}/payment", {}) == {"paid": True}
    eventually(lambda: call(f"{addresses[0]}/tenants/acme/orders")[0]["is_paid"])

    # Under load both servers stay within what is usable: one connection too many would be refused.
    def one(number: int) -> None:
        address = addresses[number % 2]
        assert call(f"{address}/healthz") == {"status": "ok"}
        call(f"{address}/orders", {"tenant_id": f"t{number % 5}", "total_cents": number})
        call(f"{address}/tenants/t{number % 5}/total")

    with concurrent.futures.ThreadPoolExecutor(60) as executor:
        list(executor.map(one, range(600)))
    for server in servers:
        assert connections_refused(workspace, server) == []
    for name in ports:
        seen_status = status(control_plane, namespace, name)
        assert seen_status["usable"] == USABLE
        assert seen_status["targets"][0]["allocated"] <= USABLE
    assert status(control_plane, namespace, "orders-replica")["capacity"]["recovery"] is True
